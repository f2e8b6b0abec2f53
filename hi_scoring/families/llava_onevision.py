"""LLaVA-OneVision: the whole image, then tiles of it merged to one grid with a newline token after each row.

Li et al., "LLaVA-OneVision" (arXiv 2408.03326), section 3.1: a grid with more tokens than a given number of tiles has
is shrunk by bilinear interpolation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from datasetkit.hi_scoring.families.base import Family
from datasetkit.hi_scoring.families.llava_next import tile_spans
from datasetkit.hi_scoring.geometry import BoolArray, FloatArray, ImageTokens, IntArray, Tower, View, mosaic

_SHRUNK_ABOVE = 1.1


class LlavaOnevision(Family):
    """One image per sample: for several images, transformers makes no tiles."""

    model_types: ClassVar[tuple[str, ...]] = ("llava_onevision",)
    needs_torchvision: ClassVar[bool] = True

    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """See :meth:`Family.image_tokens`: the whole image first, then the tiles' grid row by row."""
        tile_px, patch_px = config.vision_config.image_size, config.vision_config.patch_size
        side = tile_px // patch_px
        tower = Tower((tile_px, tile_px), patch_px, (side, side))
        patches = tile_spans(tower, processor.image_processor.image_grid_pinpoints, size_hw)
        tiles_max = int(processor.vision_aspect_ratio.removeprefix("anyres_max_"))
        rows, columns = shrunk((len(patches[0]), len(patches[1])), tiles_max * side**2)
        base = mosaic(0, (1, 1), tower.grid)
        tiles = base.size + np.arange(rows * (columns + 1)).reshape(rows, columns + 1)
        views: list[View] = [tower.squash("global", base, size_hw)]
        if rows and columns:
            views.append(Interpolated.of("tiles", tiles[:, :-1], *patches, size_hw))
        return ImageTokens(size_hw, base.size + tiles.size, tuple(views))


def shrunk(shape: tuple[int, int], count_max: int) -> tuple[int, int]:
    """Return rows and columns of a grid of patches after the interpolation, if it has far more than ``count_max``."""
    rows, columns = shape
    ratio = math.sqrt(rows * columns / count_max)
    return (int(rows // ratio), int(columns // ratio)) if ratio > _SHRUNK_ABOVE else shape


@dataclass(frozen=True, eq=False)
class Interpolated(View):
    """A grid whose tokens are mixtures of patches, or single patches if the grid was not shrunk.

    Args:
        patches: the grid before it was shrunk.
        row_weights: share of each row of patches in each row of tokens, shape (rows, patches' rows).
        column_weights: the same for columns.

    """

    patches: View
    row_weights: FloatArray
    column_weights: FloatArray

    @classmethod
    def of(
        cls, name: str, tokens: IntArray, top_bottom: FloatArray, left_right: FloatArray, size_hw: tuple[int, int]
    ) -> Interpolated:
        """Interpolate from patches whose rows show [top, bottom] and whose columns show [left, right]."""
        patches = View(name, mosaic(0, (1, 1), (len(top_bottom), len(left_right))), top_bottom, left_right)
        rows, row_weights = _mixed(top_bottom, tokens.shape[0], size_hw[0])
        columns, column_weights = _mixed(left_right, tokens.shape[1], size_hw[1])
        return cls(name, tokens, rows, columns, patches, row_weights, column_weights)

    def coverage(self, masks: BoolArray) -> FloatArray:
        """See :meth:`View.coverage`: that of the patches, mixed in the same way."""
        mixed: FloatArray = self.row_weights @ self.patches.coverage(masks) @ self.column_weights.T
        return mixed


def _mixed(patches: FloatArray, count: int, length_px: int) -> tuple[FloatArray, FloatArray]:
    """Interpolate along one axis, where patches show [start, stop] in px, shape (P, 2).

    Returns:
        where tokens begin and end: around the centre of what they show, as far as to the next token; shape (count, 2).
        And the share of each patch in each token, without padding, shape (count, P).

    """
    each = torch.eye(len(patches), dtype=torch.float64)[None]
    weights = torch.nn.functional.interpolate(each, count, mode="linear")[0].T.numpy()
    reach = (patches[0, 1] - patches[0, 0]) * len(patches) / count / 2
    spans = (weights @ patches.mean(axis=1))[:, None] + np.array([-reach, reach])
    inside = weights * np.diff(patches.clip(0, length_px))[:, 0]
    sums = inside.sum(axis=1, keepdims=True)
    return spans, np.divide(inside, sums, out=np.zeros_like(inside), where=sums > 0)
