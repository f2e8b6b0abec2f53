"""Idefics3 and SmolVLM: the image enlarged and squashed to whole tiles, then the image as a whole.

Laurençon et al., "Building and better understanding vision-language models" (arXiv 2408.12637), section 3; Marafioti et
al., "SmolVLM" (arXiv 2504.05299).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from datasetkit.hi_scoring.families.base import Family
from datasetkit.hi_scoring.geometry import ImageTokens, Tower, mosaic

_LONGEST_PX = 4096


class Idefics3(Family):
    """Tags between the tiles are text: only tokens of tiles are image tokens."""

    model_types: ClassVar[tuple[str, ...]] = ("idefics3",)

    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """See :meth:`Family.image_tokens`: tiles row by row, each in row-major order, the whole image last."""
        side, tile_px = math.isqrt(processor.image_seq_len), processor.image_processor.max_image_size["longest_edge"]
        tower = Tower((tile_px, tile_px), config.vision_config.patch_size, (side, side))
        tiles = mosaic(0, tile_grid(processor.image_processor, size_hw), (side, side))
        whole = tiles.size + np.arange(side**2).reshape(side, side)
        views = [tower.squash("global", whole, size_hw)]
        if tiles.size:
            views.append(tower.squash("tiles", tiles, size_hw))
        return ImageTokens(size_hw, tiles.size + whole.size, tuple(views))


def tile_grid(settings: Any, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of tiles; (0, 0) if the model receives only the whole image.

    The arithmetic is that of the image processors' ``resize`` and ``resize_for_vision_encoder``. The number that
    transformers computes beforehand (``get_number_of_image_patches``) differs if the longest edge is not a whole number
    of tiles.
    """
    if not settings.do_image_splitting:
        return 0, 0
    tile_px = settings.max_image_size["longest_edge"]
    height, width = _enlarged(size_hw, settings.size["longest_edge"]) if settings.do_resize else size_hw
    shape = width / height
    if width >= height:
        columns = math.ceil(width / tile_px)
        rows = math.ceil(int(columns * tile_px / shape) / tile_px)
    else:
        rows = math.ceil(height / tile_px)
        columns = math.ceil(int(rows * tile_px * shape) / tile_px)
    return (rows, columns) if max(rows, columns) > 1 else (0, 0)


def _enlarged(size_hw: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Return the size after resizing the longest edge to a length, the other to an even one, and both below 4096 px."""
    height, width = size_hw
    shape = width / height
    if width >= height:
        height, width = int(longest_px / shape), longest_px
        height += height % 2
    else:
        height, width = longest_px, int(longest_px * shape)
        width += width % 2
    height, width = max(height, 1), max(width, 1)
    shape = width / height
    if width >= height and width > _LONGEST_PX:
        height, width = int(_LONGEST_PX / shape), _LONGEST_PX
    elif height > _LONGEST_PX:
        height, width = _LONGEST_PX, int(_LONGEST_PX * shape)
    return max(height, 1), max(width, 1)


class SmolVlm(Idefics3):
    """The same layout; its processor also describes videos."""

    model_types: ClassVar[tuple[str, ...]] = ("smolvlm",)
    needs_torchvision: ClassVar[bool] = True
