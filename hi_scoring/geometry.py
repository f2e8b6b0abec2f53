"""What image tokens show: grids over the image, in pixels of the original. Owns what a tower sees, and coverage.

Every processor resizes, crops, pads and tiles along the axes, so a token shows a rectangle of the image, and a grid of
tokens is described by the edges of its rows and columns. Coverage is a token's share of a mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class View:
    """One grid of image tokens over the image or a part of it.

    Args:
        name: ``global`` for the whole image at once, ``tiles`` for a mosaic of its tiles, ``crop 0`` and so on.
        tokens: indices of the image tokens, from 0 in the order of the sequence; shape (rows, columns).
        top_bottom: first and last edge of each row of tokens, px of the upright original; shape (rows, 2). Everything
            outside the image is padding.
        left_right: the same for columns, shape (columns, 2).

    """

    name: str
    tokens: IntArray
    top_bottom: FloatArray
    left_right: FloatArray

    def boxes(self) -> FloatArray:
        """Return the rectangle of each token, x0 y0 x1 y1 in px, shape (rows, columns, 4)."""
        top, bottom = (edge[:, None] for edge in self.top_bottom.T)
        left, right = (edge[None, :] for edge in self.left_right.T)
        return np.stack(np.broadcast_arrays(left, top, right, bottom), axis=-1)

    def coverage(self, masks: BoolArray) -> FloatArray:
        """Return the share of each token's image area that is inside a mask.

        Args:
            masks: shape (N, H, W), on the upright original.

        Returns:
            shape (N, rows, columns), in [0, 1]; exact. 0 for a token that shows only padding.

        """
        inside = np.array([_inside(mask, self.top_bottom, self.left_right) for mask in masks])
        _, height, width = masks.shape
        areas = _lengths(self.top_bottom, height)[:, None] * _lengths(self.left_right, width)
        inside = inside.reshape(len(masks), *areas.shape)
        return np.divide(inside, areas, out=np.zeros_like(inside), where=areas > 0).clip(0.0, 1.0)


@dataclass(frozen=True)
class Tower:
    """How a vision tower divides its input into tokens, in every family.

    It sees whole patches from the top left. If the sides of an input are not multiples of a patch, no token shows the
    remaining px at the bottom and the right. All tokens have the same number of patches.

    Args:
        input_hw: height and width of an input after resizing, px: a whole image, a tile or a crop.
        patch_px: side of a patch.
        grid: rows and columns of tokens for one input.

    """

    input_hw: tuple[int, int]
    patch_px: int
    grid: tuple[int, int]

    def squash(self, name: str, tokens: IntArray, size_hw: tuple[int, int]) -> View:
        """Lay tokens over the whole image, without keeping its aspect ratio."""
        return self.view(name, tokens, (0, size_hw[0]), (0, size_hw[1]))

    def view(
        self, name: str, tokens: IntArray, top_bottom: tuple[float, float], left_right: tuple[float, float]
    ) -> View:
        """Lay tokens over a rectangle of the image, in px, that was resized to an input or a mosaic of inputs."""
        rows, columns = tokens.shape
        return View(name, tokens, self.spans(0, rows, *top_bottom), self.spans(1, columns, *left_right))

    def spans(self, axis: int, count: int, start: float, stop: float) -> FloatArray:
        """Return what ``count`` rows (axis 0) or columns (1) of tokens show of [start, stop), shape (count, 2)."""
        side_px, per_input = self.input_hw[axis], self.grid[axis]
        token_px = side_px // self.patch_px // per_input * self.patch_px
        inputs, numbers = np.divmod(np.arange(count), per_input)
        starts = inputs * side_px + numbers * token_px
        places = np.stack([starts, starts + token_px], axis=1)
        spans: FloatArray = start + (stop - start) * places / (count // per_input * side_px)
        return spans


@dataclass(frozen=True, eq=False)
class ImageTokens:
    """What all image tokens of one image show.

    Args:
        size_hw: height and width of the upright original, px.
        count: number of image tokens; those in no view show no pixels (newlines).
        views: the grids; a pixel may be shown in several of them.

    Raises:
        ValueError: a view has rows or columns without edges, or tokens that do not exist or are already in a view.

    """

    size_hw: tuple[int, int]
    count: int
    views: tuple[View, ...]

    def __post_init__(self) -> None:
        for view in self.views:
            if view.tokens.shape != (len(view.top_bottom), len(view.left_right)):
                raise ValueError(
                    f"view {view.name} has tokens of shape {view.tokens.shape}, but edges for "
                    f"{len(view.top_bottom)} rows and {len(view.left_right)} columns"
                )
        named = np.sort(np.concatenate([view.tokens.ravel() for view in self.views]))
        if named[0] < 0 or named[-1] >= self.count or (np.diff(named) == 0).any():
            raise ValueError(f"views name tokens {named[0]} to {named[-1]}, some repeated or not among {self.count}")


def mosaic(first: int, grid: tuple[int, int], tile: tuple[int, int]) -> IntArray:
    """Merge tiles, given row by row and each in row-major order, into one grid.

    Args:
        first: index of the first token.
        grid: rows and columns of tiles.
        tile: rows and columns of tokens in each.

    Returns:
        shape (rows of tiles * rows of a tile, columns likewise).

    """
    numbers = first + np.arange(grid[0] * grid[1] * tile[0] * tile[1])
    return numbers.reshape(*grid, *tile).swapaxes(1, 2).reshape(grid[0] * tile[0], grid[1] * tile[1])


def _lengths(spans: FloatArray, length: int) -> FloatArray:
    """Return how much of each span is in [0, length)."""
    starts, stops = spans.clip(0, length).T
    return stops - starts


def _inside(mask: BoolArray, top_bottom: FloatArray, left_right: FloatArray) -> FloatArray:
    """Return the area of a mask in each cell, px, shape (rows, columns).

    A summed-area table (Crow, "Summed-Area Tables for Texture Mapping", 1984) is linear within each pixel, so
    interpolation between its corners is exact.
    """
    height, width = mask.shape
    table = np.zeros((height + 1, width + 1))
    np.cumsum(mask, axis=0, dtype=np.float64, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    between_rows = np.diff(_at(table, top_bottom.clip(0, height)), axis=1)[:, 0]
    return np.diff(_at(between_rows.T, left_right.clip(0, width)), axis=1)[:, 0].T


def _at(table: FloatArray, places: FloatArray) -> FloatArray:
    """Interpolate between rows: (length + 1, *) at (N, 2) to (N, 2, *)."""
    before = np.minimum(places.astype(np.int64), len(table) - 2)
    part = (places - before)[..., None]
    return table[before] * (1 - part) + table[before + 1] * part
