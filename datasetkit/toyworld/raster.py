"""Objects as pixels: which pixels an object covers, and which of them are visible.

Owns the one rule: a pixel is covered if its centre is inside the outline, and belongs to the front-most object that
covers it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from datasetkit.toyworld.scenes import Scene, SceneObject
from datasetkit.toyworld.shapes import FloatArray, signed_distance

Window = tuple[slice, slice]


def distance_window(item: SceneObject, canvas_hw: tuple[int, int], margin_px: float) -> tuple[Window, FloatArray]:
    """Return signed distances to an object's outline in a window around it.

    Args:
        item: the object.
        canvas_hw: height and width of the canvas, px.
        margin_px: how far the window extends beyond the object.

    Returns:
        Row and column slices of the canvas, and the distance in px from each pixel's centre to the outline, negative
        inside, in the window's shape.

    """
    height, width = canvas_hw
    reach = item.extent + margin_px
    rows = slice(max(0, math.floor(item.y - reach)), min(height, math.ceil(item.y + reach)))
    columns = slice(max(0, math.floor(item.x - reach)), min(width, math.ceil(item.x + reach)))
    down = ((np.arange(rows.start, rows.stop) + 0.5 - item.y) / item.radius).astype(np.float32)[:, None]
    right = ((np.arange(columns.start, columns.stop) + 0.5 - item.x) / item.radius).astype(np.float32)[None, :]
    cos, sin = math.cos(item.rotation), math.sin(item.rotation)
    distances = signed_distance(item.shape, right * cos + down * sin, down * cos - right * sin) * item.radius
    return (rows, columns), distances


def covered(item: SceneObject, canvas_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of all of an object's pixels as if nothing were in front of it, shape (H, W), dtype bool."""
    mask = np.zeros(canvas_hw, dtype=np.bool_)
    window, distances = distance_window(item, canvas_hw, 1.0)
    mask[window] = distances <= 0
    return mask


def visible_masks(scene: Scene) -> NDArray[np.bool_]:
    """Return masks of the visible pixels of each object, shape (N, H, W), dtype bool; they are disjoint."""
    masks = np.zeros((len(scene.objects), *scene.config.canvas_hw), dtype=np.bool_)
    for index, item in enumerate(scene.objects):
        window, distances = distance_window(item, scene.config.canvas_hw, 1.0)
        mask = distances <= 0
        masks[(slice(0, index), *window)] &= ~mask
        masks[(index, *window)] = mask
    return masks
