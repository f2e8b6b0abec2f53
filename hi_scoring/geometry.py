"""What image tokens show: grids over the picture, in its own pixels. Owns coverage, a token's share of a mask.

Every processor resizes, crops, pads and tiles along the axes, so a token shows a rectangle of the picture, and a grid
of tokens is told by where its rows and its columns lie.
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
    """One grid of image tokens over the picture or a part of it.

    Args:
        name: ``global`` for the whole picture at once, ``tiles`` for a mosaic of its tiles, ``crop 0`` and so on.
        tokens: which of the picture's image tokens, counted from 0 in the order of the sequence; shape (rows, columns).
        top_bottom: first and last edge of each row of tokens, px of the upright original; shape (rows, 2). What lies
            beyond the picture is padding.
        left_right: the same for columns, shape (columns, 2).

    """

    name: str
    tokens: IntArray
    top_bottom: FloatArray
    left_right: FloatArray

    @classmethod
    def squash(cls, name: str, tokens: IntArray, size_hw: tuple[int, int]) -> View:
        """Lay a grid over the whole picture, whatever that does to its shape."""
        return cls.even(name, tokens, (0, size_hw[0]), (0, size_hw[1]))

    @classmethod
    def even(
        cls, name: str, tokens: IntArray, top_bottom: tuple[float, float], left_right: tuple[float, float]
    ) -> View:
        """Lay a grid of equal cells over a rectangle, in px of the picture."""
        rows, columns = tokens.shape
        return cls(name, tokens, evenly(*top_bottom, rows), evenly(*left_right, columns))

    def boxes(self) -> FloatArray:
        """Rectangle of each token, x0 y0 x1 y1 in px, shape (rows, columns, 4)."""
        top, bottom = (edge[:, None] for edge in self.top_bottom.T)
        left, right = (edge[None, :] for edge in self.left_right.T)
        return np.stack(np.broadcast_arrays(left, top, right, bottom), axis=-1)

    def coverage(self, masks: BoolArray) -> FloatArray:
        """Share of each token's picture area that lies inside a mask.

        Args:
            masks: shape (N, H, W), on the upright original.

        Returns:
            shape (N, rows, columns), in [0, 1]; exact. 0 for a token that shows padding alone.

        """
        _, height, width = masks.shape
        down, across = _overlaps(self.top_bottom, height), _overlaps(self.left_right, width)
        # Mask by mask, since floats take eight times the room.
        covered = [down @ mask.astype(np.float64) @ across.T for mask in masks]
        inside = np.array(covered).reshape(len(masks), *self.tokens.shape)
        areas = down.sum(1)[:, None] * across.sum(1)[None, :]
        return np.divide(inside, areas, out=np.zeros_like(inside), where=areas > 0).clip(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class ImageTokens:
    """What all image tokens of one picture show.

    Args:
        size_hw: height and width of the upright original, px.
        count: of all image tokens; those in no view show no pixels (newlines).
        views: the grids; a pixel may be shown in several of them.

    Raises:
        ValueError: a view has rows or columns of unknown place, or tokens that are not there or in a view already.

    """

    size_hw: tuple[int, int]
    count: int
    views: tuple[View, ...]

    def __post_init__(self) -> None:
        for view in self.views:
            if view.tokens.shape != (len(view.top_bottom), len(view.left_right)):
                raise ValueError(
                    f"view {view.name} has tokens of shape {view.tokens.shape}, and places for "
                    f"{len(view.top_bottom)} rows and {len(view.left_right)} columns"
                )
        named = np.sort(np.concatenate([view.tokens.ravel() for view in self.views]))
        if named[0] < 0 or named[-1] >= self.count or (np.diff(named) == 0).any():
            raise ValueError(f"views name tokens {named[0]} to {named[-1]}, some twice or not one of {self.count}")


def evenly(start: float, stop: float, count: int) -> FloatArray:
    """Part [start, stop) into equal spans, shape (count, 2)."""
    edges = np.linspace(start, stop, count + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def mosaic(first: int, grid: tuple[int, int], tile: tuple[int, int]) -> IntArray:
    """Merge tiles, given row by row and each row by row within, to one grid.

    Args:
        first: number of the first token.
        grid: rows and columns of tiles.
        tile: rows and columns of tokens in each.

    Returns:
        shape (rows of tiles * rows of a tile, columns likewise).

    """
    numbers = first + np.arange(grid[0] * grid[1] * tile[0] * tile[1])
    return numbers.reshape(*grid, *tile).swapaxes(1, 2).reshape(grid[0] * tile[0], grid[1] * tile[1])


def _overlaps(spans: FloatArray, length: int) -> FloatArray:
    """How much of each pixel [i, i + 1) lies in each span, shape (spans, length)."""
    pixels = np.arange(length)
    starts, stops = spans[:, :1], spans[:, 1:]
    return (np.minimum(stops, pixels + 1) - np.maximum(starts, pixels)).clip(0.0, 1.0)
