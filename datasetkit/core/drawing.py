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
        max_side_px: largest side of the result, px; a smaller image is not enlarged.

    Returns:
        image of mode RGB.

    """
    scale = min(1.0, max_side_px / max(pixels.size))
    size_wh = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
    small = pixels.resize(size_wh, Image.Resampling.BILINEAR, reducing_gap=2.0) if scale < 1.0 else pixels
    masks = [(item.id, item.mask) for item in objects if item.mask is not None]
    painted = sorted(masks, key=lambda numbered: (-numbered[1].area, numbered[0]))
    labels = _sampled_labels([mask for _, mask in painted], (pixels.height, pixels.width), size_wh)
    colours = np.array([(0, 0, 0), *(object_colour(number) for number, _ in painted)], dtype=np.uint8)
    opacity = np.where(_outlines(labels), 255, np.where(labels > 0, _FILL_OF_255, 0)).astype(np.uint8)
    return Image.composite(Image.fromarray(colours.take(labels, axis=0)), small, Image.fromarray(opacity))


def _sampled_labels(masks: Sequence[Mask], size_hw: tuple[int, int], sampled_wh: tuple[int, int]) -> NDArray[np.int32]:
    """Paint masks over each other and sample the result at pixel centres.

    Returns:
        shape (sampled height, sampled width): 1 plus the index of the last mask at each pixel, or 0 without a mask.

    """
    height, width = size_hw
    columns = np.zeros(width * height, dtype=np.int32)
    for label, mask in enumerate(masks, start=1):
        ends = np.cumsum(run_lengths(mask.counts))
        for start, end in zip(ends[0::2].tolist(), ends[1::2].tolist(), strict=False):
            columns[start:end] = label
    rows = ((np.arange(sampled_wh[1]) + 0.5) * height / sampled_wh[1]).astype(np.int64)
    cols = ((np.arange(sampled_wh[0]) + 0.5) * width / sampled_wh[0]).astype(np.int64)
    return columns.reshape(width, height).T[rows[:, None], cols[None, :]]


def _outlines(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which labelled pixels have a 4-neighbour of another label; shape (H, W) in and out."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (inner > 0) & np.logical_or.reduce([inner != other for other in neighbours])


def encode_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """Encode an image (mode RGB) as JPEG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
