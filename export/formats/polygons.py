"""Masks as one polygon each. Owns tracing, joining and filling.

The outline runs through the centres of a mask's border pixels. Readers that fill polygons like OpenCV's ``fillPoly``
(border included, even-odd rule) restore the same mask from it. Holes and further parts are connected to the outline by
lines that are drawn in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

from datasetkit.core.mask import BoolArray

Points = NDArray[np.int64]
# Between background 0 and mask 1, so close to the mask that rounding yields the mask's pixel.
_LEVEL = 0.99


@dataclass(frozen=True, slots=True)
class Outline:
    """Outline of a mask.

    Args:
        points_xy: corners, shape (N, 2), N at least 3, int64, x and y as column and row indices, not closed.
        parts: number of 4-connected parts of the mask.
        holes: number of holes.

    """

    points_xy: Points
    parts: int
    holes: int


def trace(mask: BoolArray) -> Outline:
    """Trace a mask, shape (H, W), dtype bool, with at least one pixel."""
    rings, areas = _rings(mask)
    order = sorted(range(len(rings)), key=lambda index: -abs(areas[index]))
    joined = rings[order[0]]
    for index in order[1:]:
        joined = _join(joined, rings[index])
    while len(joined) < 3:
        joined = np.concatenate([joined, joined[-1:]])
    holes = sum(area < 0 for area in areas)
    return Outline(joined, len(rings) - holes, holes)


def fill(points_xy: Points, size_hw: tuple[int, int]) -> BoolArray:
    """Return the mask of a polygon, border included: (N, 2) integer x and y to (H, W), dtype bool."""
    height, width = size_hw
    image = Image.new("1", (width, height))
    ImageDraw.Draw(image).polygon([(x, y) for x, y in points_xy.tolist()], fill=1, outline=1)
    return np.asarray(image)


def _rings(mask: BoolArray) -> tuple[list[Points], list[float]]:
    """Return every border: rings of corners, and their signed areas in px, negative for holes."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1).astype(np.float64)
    corner_xy = np.array([columns[0] - 1, rows[0] - 1])
    traced = [np.asarray(ring) for ring in contour_generator(z=part).lines(_LEVEL)]
    return [_corners(np.rint(ring).astype(np.int64) + corner_xy) for ring in traced], [_area(ring) for ring in traced]


def _area(ring_xy: NDArray[np.float64]) -> float:
    x, y = ring_xy[:-1].T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def _corners(ring_xy: Points) -> Points:
    """Remove repeated and collinear points; keep at least one."""
    points = ring_xy[:-1]
    steps = np.roll(points, -1, axis=0) - points
    moves = steps.any(axis=1)
    if not moves.any():
        return points[:1]
    points, steps = points[moves], steps[moves]
    return points[(steps != np.roll(steps, 1, axis=0)).any(axis=1)]


def _join(outline_xy: Points, ring_xy: Points) -> Points:
    """Connect a ring to an outline at their closest corners."""
    distances, nearest = cKDTree(outline_xy).query(ring_xy)
    start = int(np.argmin(distances))
    at = int(np.asarray(nearest)[start])
    around = np.roll(ring_xy, -start, axis=0)
    return np.concatenate([outline_xy[: at + 1], around, around[:1], outline_xy[at:]])
