"""Shapes that annotation tools draw, as boxes, polygons and arrays. Owns their geometry, and how masks are read."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.limits import ImageLimits
from datasetkit.core.mask import BoolArray, Box, Mask

Point = tuple[float, float]
_ROUND = 72  # corners of an ellipse
_MOST_MASK_PIXELS = ImageLimits().max_pixels


def flat(points: Sequence[Sequence[float]]) -> list[float]:
    """Return points as [x0, y0, x1, y1, ...]."""
    return [float(one) for x, y in points for one in (x, y)]


def around(points: Sequence[Sequence[float]]) -> Box:
    """Return the box (left, top, width, height) around points."""
    xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def ellipse(middle: Point, radii: Point, degrees: float = 0.0) -> list[Point]:
    """Return corners of a polygon whose area is that of an ellipse, turned clockwise about its middle."""
    step = 2 * math.pi / _ROUND
    larger = math.sqrt(step / math.sin(step))
    corners = [
        (middle[0] + radii[0] * larger * math.cos(at * step), middle[1] + radii[1] * larger * math.sin(at * step))
        for at in range(_ROUND)
    ]
    return turned(corners, middle, degrees)


def turned(points: Sequence[Point], middle: Point, degrees: float) -> list[Point]:
    """Turn points clockwise (the y axis points down)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    moved = [(x - middle[0], y - middle[1]) for x, y in points]
    return [(middle[0] + x * cos - y * sin, middle[1] + x * sin + y * cos) for x, y in moved]


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Return the corners of an upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def placed(crop: BoolArray, left: int, top: int, size_hw: tuple[int, int]) -> BoolArray:
    """Return a mask of an image, of which only a crop, shape (H, W), is known; what leaves the image is cut off."""
    check_pixels(size_hw[1], size_hw[0])
    found = np.zeros(size_hw, dtype=np.bool_)
    inside = crop[max(-top, 0) :, max(-left, 0) :]
    target = found[max(top, 0) :, max(left, 0) :][: inside.shape[0], : inside.shape[1]]
    target[:] = inside[: target.shape[0], : target.shape[1]]
    return found


def united(parts: Sequence[Any], size_hw: tuple[int, int]) -> Any:
    """Return one mask of polygons, and of functions that return arrays of shape (H, W), dtype bool.

    It is a list if there are only polygons.
    """
    polygons = [part for part in parts if not callable(part)]
    arrays: list[Callable[[], BoolArray]] = [part for part in parts if callable(part)]
    if not arrays:
        return polygons

    def draw() -> BoolArray:
        found = arrays[0]()
        for one in arrays[1:]:
            found = found | one()
        return found | Mask.from_polygons(polygons, size_hw).decode() if polygons else found

    return draw


def read_mask(data: bytes) -> NDArray[Any]:
    """Decode a mask file, shape (H, W) or (H, W, channels); a palette's indices stay as they are.

    Raises:
        UnusableError: ``bad_mask``: it is not a PNG, or has too many pixels.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                check_pixels(*image.size)
                found = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnusableError(DropReason.BAD_MASK, f"the mask is not a PNG file that can be read ({error})") from None
    return found


def read_foreground(data: bytes) -> BoolArray:
    """Decode a mask file of one object, shape (H, W): where a colour is not black. Raises as :func:`read_mask`."""
    found = read_mask(data) > 0
    colours = 3 if found.ndim == 3 and found.shape[2] > 2 else 1
    return np.asarray(found[:, :, :colours].any(axis=2) if found.ndim == 3 else found)


def check_pixels(width: int, height: int) -> None:
    """Raise ``bad_mask`` for a mask that has too many pixels, or none."""
    if width < 1 or height < 1 or width * height > _MOST_MASK_PIXELS:
        raise UnusableError(
            DropReason.BAD_MASK, f"a mask of {width}x{height} px; at most {_MOST_MASK_PIXELS:,} px are read"
        )
