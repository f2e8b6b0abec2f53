"""PaliGemma 1 and 2: the image squashed to a square, its tokens first in the sequence.

Beyer et al., "PaliGemma" (arXiv 2407.07726). The models have no chat: the prompt is a prefix with bidirectional
attention, and ends in a line end; the response is the suffix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from datasetkit.hi_scoring.families.base import Family, tokens_after
from datasetkit.hi_scoring.geometry import ImageTokens, Tower


class PaliGemma(Family):
    """The processor adds a begin token and a line end around a prefix, and an end token after a suffix."""

    model_types: ClassVar[tuple[str, ...]] = ("paligemma",)
    response_tail: ClassVar[int] = 1

    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """See :meth:`Family.image_tokens`: row by row."""
        side, size = math.isqrt(processor.image_seq_length), processor.image_processor.size
        tower = Tower((size["height"], size["width"]), config.vision_config.patch_size, (side, side))
        tokens = np.arange(side**2).reshape(side, side)
        return ImageTokens(size_hw, tokens.size, (tower.squash("global", tokens, size_hw),))

    def prompt(self, processor: Any, text: str) -> str:
        """See :meth:`Family.prompt`: the image, then the text as it is."""
        image: str = processor.image_token
        return image + text

    def closing(self, processor: Any) -> str:
        """See :meth:`Family.closing`: the processor adds the end token after a suffix."""
        return ""

    def inputs(
        self, processor: Any, images: Sequence[Image.Image], prompts: Sequence[str], responses: Sequence[str] | None
    ) -> Any:
        """See :meth:`Family.inputs`; labels are left out, since the model would compute a loss from them."""
        inputs = processor(
            images=[[image] for image in images],
            text=list(prompts),
            suffix=None if responses is None else list(responses),
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        inputs.pop("labels", None)
        return inputs

    def response_tokens(self, processor: Any, prompt: str, response: str) -> tuple[list[int], list[tuple[int, int]]]:
        """See :meth:`Family.response_tokens`: the suffix is tokenised separately from the prefix."""
        return tokens_after(processor.tokenizer, response, 0)
