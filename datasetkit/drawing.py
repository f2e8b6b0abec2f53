"""Pictures with masks on them. Owns the object colours and the overlay that cards, viewers and previews show."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from datasetkit.record import KeyObject

_GOLDEN_RATIO = 0.618033988749895
_FILL = 0.45
OVERLAY_MAX_SIDE_PX = 384


def object_colour(object_id: int) -> tuple[int, int, int]:
    """Give an object's colour as RGB, 0 to 255: hues a golden section apart, so that neighbours differ."""
    hue = (0.02 + object_id * _GOLDEN_RATIO) % 1.0
    lightness = 0.5 if object_id % 2 else 0.58
    red, green, blue = (round(255 * value) for value in colorsys.hls_to_rgb(hue, lightness, 0.9))
    return red, green, blue


def draw_overlay(
    pixels: Image.Image, objects: Sequence[KeyObject], max_side_px: int = OVERLAY_MAX_SIDE_PX
) -> Image.Image:
    """Draw objects' masks over a picture, large ones first, each with its outline.

    Args:
        pixels: mode RGB, upright, of the masks' size.
        objects: whose masks to draw, in their own colours.
        max_side_px: the longer side of the result; a smaller picture is not enlarged.

    Returns:
        mode RGB.

    """
    scale = min(1.0, max_side_px / max(pixels.size))
    size_wh = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
    small = pixels.resize(size_wh, Image.Resampling.BILINEAR, reducing_gap=2.0) if scale < 1.0 else pixels
    canvas = np.asarray(small).astype(np.float32)
    for item in sorted(objects, key=lambda item: (-item.area, item.id)):
        mask = Image.fromarray(item.mask.decode()).convert("L").resize(size_wh, Image.Resampling.BOX)
        inside = np.asarray(mask).astype(np.float32)[..., None] / 255.0
        outline = (np.asarray(mask.filter(ImageFilter.MaxFilter(3))) >= 128) & (np.asarray(mask) < 128)
        colour = np.array(object_colour(item.id), dtype=np.float32)
        canvas += inside * _FILL * (colour - canvas)
        canvas[outline] = colour
    return Image.fromarray(canvas.round().astype(np.uint8))


def encode_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """Encode a picture (mode RGB) as JPEG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
