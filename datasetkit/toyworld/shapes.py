"""The six shapes as signed distances. Owns their geometry, independently of colours, scenes and pixels.

The sign decides what is inside; near the outline the distance is exact enough to anti-alias it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


class Shape(StrEnum):
    """The shape of an object."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"
    STAR = "star"
    RING = "ring"
    CROSS = "cross"


# All lengths below are in units of the object's radius.
_ROUNDING = 0.08
_RING_INNER = 0.48
_CROSS_ARM = 0.94
_CROSS_HALF_WIDTH = 0.28


@dataclass(frozen=True, slots=True)
class _Star:
    """An outline with alternating tips and notches, at radii ``tip`` and ``notch``; a tip, or a notch, points up.

    A regular polygon is the star whose notches are in the middle of its edges. Rounding is added on every side.
    """

    points: int
    tip: float
    notch: float
    tip_up: bool = True


_STARS: dict[Shape, _Star] = {
    Shape.SQUARE: _Star(4, 1.06, 1.06 * math.cos(math.pi / 4), tip_up=False),
    Shape.TRIANGLE: _Star(3, 1.08, 1.08 * math.cos(math.pi / 3)),
    Shape.STAR: _Star(5, 1.08, 0.50),
}


def extent(shape: Shape) -> float:
    """Return the radius of the smallest centred circle around the shape, in units of the object's radius."""
    if shape in _STARS:
        return _STARS[shape].tip + _ROUNDING
    if shape is Shape.CROSS:
        return math.hypot(_CROSS_ARM, _CROSS_HALF_WIDTH) + _ROUNDING
    return 1.0


def signed_distance(shape: Shape, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the distance to the shape's outline, negative inside.

    Args:
        shape: which shape.
        x: coordinates relative to the shape's centre and rotation, in units of the object's radius, to the right; any
            array shape.
        y: the same, downwards; the same array shape.

    Returns:
        Distances in units of the radius, in the array shape of ``x``.

    """
    if shape in _STARS:
        return _star_distance(_STARS[shape], x, y) - _ROUNDING
    if shape is Shape.CROSS:
        upright = _box_distance(np.abs(x) - _CROSS_HALF_WIDTH, np.abs(y) - _CROSS_ARM)
        lying = _box_distance(np.abs(x) - _CROSS_ARM, np.abs(y) - _CROSS_HALF_WIDTH)
        return np.minimum(upright, lying) - _ROUNDING
    radius = np.hypot(x, y)
    if shape is Shape.RING:
        return np.abs(radius - (1 + _RING_INNER) / 2) - (1 - _RING_INNER) / 2
    return radius - 1.0


def _box_distance(beyond_x: FloatArray, beyond_y: FloatArray) -> FloatArray:
    """Return the signed distance to a box from the distances of each point beyond its sides."""
    outside = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
    return outside + np.minimum(np.maximum(beyond_x, beyond_y), 0)


def _star_distance(star: _Star, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the signed distance to a star: by its mirror symmetry, the distance to one edge from tip to notch.

    Angles are float64: float32 ones differ between processors, which would occasionally change a pixel.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    step = 2 * math.pi / star.points
    angle = np.arctan2(x, -y) + (0 if star.tip_up else step / 2)
    folded = np.abs(angle - step * np.rint(angle / step))
    radius = np.hypot(x, y)
    along_tip, across_tip = radius * np.cos(folded), radius * np.sin(folded)
    edge_along = star.notch * math.cos(step / 2) - star.tip
    edge_across = star.notch * math.sin(step / 2)
    from_tip = along_tip - star.tip
    part = (from_tip * edge_along + across_tip * edge_across) / (edge_along**2 + edge_across**2)
    part = np.clip(part, 0, 1)
    distance = np.hypot(from_tip - part * edge_along, across_tip - part * edge_across)
    inside = edge_along * across_tip - edge_across * from_tip > 0
    return np.where(inside, -distance, distance).astype(np.float32)
