"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: the image squashed to a grid of tokens whose size depends on the image.

Wang et al., "Qwen2-VL" (arXiv 2409.12191), section 2.1: naive dynamic resolution, where 2 x 2 patches make a token.
Qwen2.5-VL sees windows of the image, and puts them back into row-major order before they reach the text.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.hi_scoring.families.base import Family
from datasetkit.hi_scoring.geometry import ImageTokens, Tower

_LENGTH_TO_WIDTH_MAX = 200


class QwenVl(Family):
    """The three differ in their patch sizes, which are set in the processor."""

    model_types: ClassVar[tuple[str, ...]] = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
    needs_torchvision: ClassVar[bool] = True

    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """See :meth:`Family.image_tokens`: row by row."""
        settings = processor.image_processor
        token_px = settings.patch_size * settings.merge_size
        shape = token_grid(size_hw, token_px, settings.size["shortest_edge"], settings.size["longest_edge"])
        tokens = np.arange(math.prod(shape)).reshape(shape)
        tower = Tower((shape[0] * token_px, shape[1] * token_px), settings.patch_size, shape)
        return ImageTokens(size_hw, tokens.size, (tower.squash("global", tokens, size_hw),))


def token_grid(size_hw: tuple[int, int], token_px: int, pixels_min: int, pixels_max: int) -> tuple[int, int]:
    """Return rows and columns of tokens of ``token_px`` squared that keep the image's shape within a number of pixels.

    The arithmetic is that of ``smart_resize`` of transformers, which rounds halves to even.

    Raises:
        UnusableError: ``too_narrow``: one side is over 200 times the other.

    """
    height, width = size_hw
    if max(size_hw) > _LENGTH_TO_WIDTH_MAX * min(size_hw):
        raise UnusableError(
            DropReason.TOO_NARROW,
            f"{height} x {width} px (height, width); one side may be at most {_LENGTH_TO_WIDTH_MAX} times the other",
        )
    rows, columns = round(height / token_px), round(width / token_px)
    if rows * columns * token_px**2 > pixels_max:
        shrink = math.sqrt(height * width / pixels_max)
        return max(1, math.floor(height / shrink / token_px)), max(1, math.floor(width / shrink / token_px))
    if rows * columns * token_px**2 < pixels_min:
        grow = math.sqrt(pixels_min / (height * width))
        return math.ceil(height * grow / token_px), math.ceil(width * grow / token_px)
    return rows, columns
