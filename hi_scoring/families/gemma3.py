"""Gemma 3: the image squashed to a square of pooled tokens; with pan and scan, crops of long images after it.

Gemma Team, "Gemma 3 Technical Report" (arXiv 2503.19786), section 2.1.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from datasetkit.hi_scoring.families.base import Family
from datasetkit.hi_scoring.geometry import ImageTokens, Tower


class Gemma3(Family):
    """Gemma 3; pan and scan is off unless the image processor turns it on."""

    model_types: ClassVar[tuple[str, ...]] = ("gemma3",)

    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """See :meth:`Family.image_tokens`: the whole image, then each crop; each in row-major order."""
        side, size = math.isqrt(processor.image_seq_length), processor.image_processor.size
        tower = Tower((size["height"], size["width"]), config.vision_config.patch_size, (side, side))
        tokens = np.arange(side**2).reshape(side, side)
        views = [tower.squash("global", tokens, size_hw)]
        for number, (top_bottom, left_right) in enumerate(_crops(processor, size_hw)):
            views.append(tower.view(f"crop {number}", tokens + (number + 1) * side**2, top_bottom, left_right))
        return ImageTokens(size_hw, len(views) * side**2, tuple(views))


def _crops(processor: Any, size_hw: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return top and bottom, left and right of each crop in px, as ``pan_and_scan`` of the image processors does."""
    # Settings of the processor take precedence over those of its image processor.
    settings = {**vars(processor.image_processor), **getattr(processor, "images_kwargs", {})}
    if not settings["do_pan_and_scan"]:
        return []
    least_px = settings["pan_and_scan_min_crop_size"]
    (height, width), (short, long) = size_hw, sorted(size_hw)
    if long / short < settings["pan_and_scan_min_ratio_to_activate"]:
        return []
    count = max(2, min(long // least_px, math.floor(long / short + 0.5)))
    count = min(count, settings["pan_and_scan_max_num_crops"])
    crop_px = math.ceil(long / count)
    if min(crop_px, short) < least_px:
        return []
    spans = [(crop_px * number, min(crop_px * (number + 1), long)) for number in range(count)]
    return [((0, height), span) if width >= height else (span, (0, width)) for span in spans]
