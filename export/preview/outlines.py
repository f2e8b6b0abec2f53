"""Masks as SVG paths. Owns the conversion of run lengths to short outlines for browsers.

A path of a few hundred bytes replaces an image of the mask: it is sharp at any size, receives pointer events and can be
coloured by the page.
"""

from __future__ import annotations

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from datasetkit.core.mask import Mask

UNITS_PER_PX = 2
# A lower tolerance would follow the pixel stairs; a higher one would be visible.
_TOLERANCE_PX = 0.6


def mask_coverage(mask: Mask, size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Resample a mask to another size.

    Returns:
        covered share of each pixel, shape (height, width), float32, range [0, 1].

    """
    full = Image.fromarray(mask.decode().astype(np.float32))
    return np.asarray(full.resize(size_wh, Image.Resampling.BILINEAR), dtype=np.float32)


def svg_path(coverage: NDArray[np.float32]) -> str:
    """Return the outlines of a mask, holes included, as the ``d`` of a path for the ``evenodd`` fill rule.

    Args:
        coverage: result of :func:`mask_coverage`, shape (H, W), float32, range [0, 1], not all 0.

    Returns:
        closed rings in integer units of 1 / ``UNITS_PER_PX`` px from the top left corner, each point relative to the
        previous one.

    """
    # A mask of less than half a pixel must stay visible, so the level depends on the maximum.
    level = min(0.5, float(coverage.max()) / 2)
    part, corner_xy = _cropped(coverage)
    rings = contour_generator(z=np.pad(part, 1)).lines(level)
    # Padding shifted pixel centres, at one half, by one to the right and down.
    return "".join(_ring_path(simplify_ring(np.asarray(ring) - 0.5 + corner_xy, _TOLERANCE_PX)) for ring in rings)


def inner_point(coverage: NDArray[np.float32]) -> tuple[float, float]:
    """Return the point deepest inside a mask, where a label fits best.

    Args:
        coverage: shape (H, W), float32, range [0, 1].

    Returns:
        x and y as fractions of width and height, range [0, 1].

    """
    part, corner_xy = _cropped(coverage)
    depth = ndimage.distance_transform_edt(np.pad(part >= part.max() / 2, 1))
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    height, width = coverage.shape
    return (float(corner_xy[0] + column) - 0.5) / width, (float(corner_xy[1] + row) - 0.5) / height


def simplify_ring(points_xy: NDArray[np.float64], tolerance_px: float) -> NDArray[np.float64]:
    """Simplify a closed ring within a tolerance (Ramer, Douglas and Peucker).

    Args:
        points_xy: shape (N, 2), x and y in px; the last point repeats the first.
        tolerance_px: largest distance of a removed point from the line that replaces it.

    Returns:
        remaining points, shape (M, 2), in their order, without the repeated last one.

    """
    last = len(points_xy) - 1
    middle = int(np.argmax(np.hypot(*(points_xy - points_xy[0]).T)))
    keep = np.zeros(len(points_xy), dtype=np.bool_)
    keep[[0, middle]] = True
    spans = [(0, middle), (middle, last)]
    while spans:
        start, end = spans.pop()
        if end - start < 2:
            continue
        distances = _distances(points_xy[start + 1 : end], points_xy[start], points_xy[end])
        farthest = int(np.argmax(distances))
        if distances[farthest] > tolerance_px:
            split = start + 1 + farthest
            keep[split] = True
            spans += [(start, split), (split, end)]
    return points_xy[keep]


def _cropped(coverage: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Crop a coverage of shape (H, W) to the part above 0; return it with x and y of its top left corner, px."""
    rows, columns = np.flatnonzero(coverage.any(axis=1)), np.flatnonzero(coverage.any(axis=0))
    part = coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return part, np.array([columns[0], rows[0]], dtype=np.int64)


def _distances(
    points_xy: NDArray[np.float64], start_xy: NDArray[np.float64], end_xy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distances in px, shape (N,), of points, shape (N, 2), from the line through two points, shape (2,)."""
    offset, along = points_xy - start_xy, end_xy - start_xy
    length = float(np.hypot(*along))
    if length == 0.0:
        return np.hypot(offset[:, 0], offset[:, 1])
    return np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0]) / length


def _ring_path(points_xy: NDArray[np.float64]) -> str:
    """Return a ring, shape (N, 2) in px, as path data; empty if rounding leaves it without an inside."""
    units = np.rint(points_xy * UNITS_PER_PX).astype(np.int64)
    units = units[np.any(units != np.roll(units, 1, axis=0), axis=1)]
    if len(units) < 3:
        return ""
    steps = " ".join(f"{x} {y}" for x, y in np.diff(units, axis=0).tolist()).replace(" -", "-")
    return f"M{units[0, 0]} {units[0, 1]}l{steps}z"
