"""Masks as one polygon each. Owns tracing, joining and filling them again.

The outline runs through the centres of a mask's border pixels, which is what readers that fill polygons as OpenCV's
``fillPoly`` does (the border belongs to the inside, and where lines meet, inside is what is crossed an odd number of
times) turn back into the same mask. Holes and further parts hang on the outline by lines that lead there and back.
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
# Between background 0 and mask 1, so near to the mask that rounding gives the mask's own pixel.
_LEVEL = 0.99


@dataclass(frozen=True, slots=True)
class Outline:
    """A mask's outline.

    Args:
        points_xy: corners, shape (N, 2), N at least 3, int64, x and y as indices of columns and rows, not closed.
        parts: how many parts the mask has, pixels that share a side being of one part.
        holes: how many holes it has.

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
    """Fill a polygon, shape (N, 2), x and y as whole px, with its border; shape (H, W), dtype bool."""
    height, width = size_hw
    image = Image.new("1", (width, height))
    ImageDraw.Draw(image).polygon([(x, y) for x, y in points_xy.tolist()], fill=1, outline=1)
    return np.asarray(image)


def _rings(mask: BoolArray) -> tuple[list[Points], list[float]]:
    """Trace every border: rings of corners, and the area each encloses, px, below 0 for a hole's."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1).astype(np.float64)
    corner_xy = np.array([columns[0] - 1, rows[0] - 1])
    traced = [np.asarray(ring) for ring in contour_generator(z=part).lines(_LEVEL)]
    return [_corners(np.rint(ring).astype(np.int64) + corner_xy) for ring in traced], [_area(ring) for ring in traced]


def _area(ring_xy: NDArray[np.float64]) -> float:
    x, y = ring_xy[:-1].T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def _corners(ring_xy: Points) -> Points:
    """Leave out repeated points and those on a straight way; keep at least one."""
    points = ring_xy[:-1]
    steps = np.roll(points, -1, axis=0) - points
    moves = steps.any(axis=1)
    if not moves.any():
        return points[:1]
    points, steps = points[moves], steps[moves]
    return points[(steps != np.roll(steps, 1, axis=0)).any(axis=1)]


def _join(outline_xy: Points, ring_xy: Points) -> Points:
    """Hang a ring on an outline where their corners are nearest."""
    distances, nearest = cKDTree(outline_xy).query(ring_xy)
    start = int(np.argmin(distances))
    at = int(np.asarray(nearest)[start])
    around = np.roll(ring_xy, -start, axis=0)
    return np.concatenate([outline_xy[: at + 1], around, around[:1], outline_xy[at:]])
