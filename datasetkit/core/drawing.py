"""Images with masks drawn on them. Owns the object colours, and the overlay of cards, viewers and previews."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasetkit.core.mask import Mask, run_lengths
from datasetkit.core.record import KeyObject

Labels = NDArray[np.unsignedinteger]

_GOLDEN_RATIO = 0.618033988749895
# Transparent enough that colours underneath stay recognizable.
_FILL_OF_255 = 64
OVERLAY_MAX_SIDE_PX = 384


def object_colour(object_id: int) -> tuple[int, int, int]:
    """Return the colour of an object as RGB, 0 to 255; hues are a golden section apart, so that neighbours differ."""
    hue = (0.02 + object_id * _GOLDEN_RATIO) % 1.0
    lightness = 0.5 if object_id % 2 else 0.58
    red, green, blue = (round(255 * value) for value in colorsys.hls_to_rgb(hue, lightness, 0.9))
    return red, green, blue


def draw_overlay(
    pixels: Image.Image, objects: Sequence[KeyObject], max_side_px: int = OVERLAY_MAX_SIDE_PX
) -> Image.Image:
    """Draw masks with outlines over an image, large ones first.

    Args:
        pixels: upright image, mode RGB, of the same size as the masks.
        objects: objects whose masks are drawn, each in its colour.
        max_side_px: largest side of the result, px, which may be smaller by up to a quarter; a smaller image is not
            enlarged.

    Returns:
        image of mode RGB.

    """
    drawn = _reduced(pixels, max_side_px)
    masks = [(item.id, item.mask) for item in objects if item.mask is not None]
    painted = sorted(masks, key=lambda numbered: (-numbered[1].area, numbered[0]))
    labels = _sampled_labels([mask for _, mask in painted], (pixels.height, pixels.width), drawn.size)
    rows, columns = (np.flatnonzero(labels.any(axis=axis)) for axis in (1, 0))
    if rows.size:
        inside = labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        layer = _layer(inside, [object_colour(number) for number, _ in painted])
        drawn.paste(layer, (int(columns[0]), int(rows[0])), layer)
    return drawn


def _reduced(pixels: Image.Image, max_side_px: int) -> Image.Image:
    """Reduce an image to a largest side; by a whole factor, which is exact and fast, if it loses at most a quarter."""
    side = max(pixels.size)
    factor = max(1, -(-side // max_side_px))
    if 4 * side >= 3 * factor * min(side, max_side_px):
        return pixels.reduce(factor)
    scale = max_side_px / side
    size_wh = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
    return pixels.resize(size_wh, Image.Resampling.BOX)


def _sampled_labels(masks: Sequence[Mask], size_hw: tuple[int, int], sampled_wh: tuple[int, int]) -> Labels:
    """Paint masks over each other and sample the result at pixel centres.

    The sampled pixels of a run are a run, too, so that nothing of the full size is decoded.

    Returns:
        shape (sampled height, sampled width): twice 1 plus the index of the last mask at each pixel, or 0 without a
        mask. Odd numbers are free for outlines.

    """
    columns, rows = _sampled_before(size_hw[1], sampled_wh[0]), _sampled_before(size_hw[0], sampled_wh[1])
    is_sampled = np.diff(columns, append=columns[-1])
    labels = np.zeros(sampled_wh[0] * sampled_wh[1], dtype=np.min_scalar_type(2 * len(masks) + 1))
    for label, mask in enumerate(masks, start=1):
        column, row = np.divmod(np.cumsum(run_lengths(mask.counts)), size_hw[0])
        ends = columns[column] * sampled_wh[1] + is_sampled[column] * rows[row]
        runs = np.diff(np.concatenate([[0], ends]))
        np.copyto(labels, 2 * label, where=np.repeat(np.arange(runs.size) % 2 == 1, runs))
    return labels.reshape(sampled_wh).T


def _sampled_before(size: int, sampled: int) -> NDArray[np.int64]:
    """Return how many of the sampled pixels of a side come before each of its pixels, and before its end.

    Args:
        size: length of the side, px.
        sampled: number of parts of the side whose centres are sampled.

    Returns:
        shape (size + 1,).

    """
    return (2 * np.arange(size + 1) * sampled + size - 1) // (2 * size)


def _layer(labels: Labels, colours: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Colour masks, opaque along their outlines.

    Outlines are the labelled pixels that have a 4-neighbour of another label, or are at the border.

    Args:
        labels: even numbers, shape (H, W); see :func:`_sampled_labels`.
        colours: RGB of each mask.

    Returns:
        image of mode RGBA.

    """
    padded = np.pad(labels, 1)
    outlines = labels != padded[:-2, 1:-1]
    for other in (padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        outlines |= labels != other
    tones = [(0, 0, 0, 0)] * 2 + [(*colour, opacity) for colour in colours for opacity in (_FILL_OF_255, 255)]
    table = np.array(tones, dtype=np.uint8).view(np.uint32)[:, 0]
    return Image.frombuffer("RGBA", labels.shape[::-1], table.take(labels | outlines), "raw", "RGBA", 0, 1)


def encode_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """Encode an image (mode RGB) as JPEG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
