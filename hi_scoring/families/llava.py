"""LLaVA 1.5: one square image, cropped from the centre, padded or squashed, depending on the processor.

Liu et al., "Improved Baselines with Visual Instruction Tuning" (arXiv 2310.03744). The published processors of
transformers crop: no token sees the ends of a panorama.
"""

from __future__ import annotations

from typing import Any, ClassVar

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.families.base import Family
from datasetkit.hi_scoring.geometry import ImageTokens, Tower, mosaic


class Llava(Family):
    """LLaVA with a tower of fixed input size (CLIP, SigLIP); Pixtral with images of any size is another family."""

    model_types: ClassVar[tuple[str, ...]] = ("llava",)

    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """See :meth:`Family.image_tokens`: row by row, after the class token if the model keeps it."""
        settings, patch_px = processor.image_processor, config.vision_config.patch_size
        if config.vision_config.model_type == "pixtral":
            raise ModelError("LLaVA with Pixtral's tower is not supported; use a LLaVA with a CLIP or SigLIP tower")
        if settings.do_center_crop:
            height, width = settings.crop_size["height"], settings.crop_size["width"]
        else:
            side = max(size_hw)
            height, width = _resized_hw(settings, (side, side) if _squares(settings) else size_hw)
        grid, first = (height // patch_px, width // patch_px), first_patch(processor, config)
        tokens = mosaic(first, (1, 1), grid)
        top, left = place_in_image(settings, size_hw, (0, 0))
        bottom, right = place_in_image(settings, size_hw, (height, width))
        view = Tower((height, width), patch_px, grid).view("global", tokens, (top, bottom), (left, right))
        return ImageTokens(size_hw, first + tokens.size, (view,))


def first_patch(processor: Any, config: Any) -> int:
    """Return how many tokens of the tower come before those of patches: the class token, unless it is left out.

    Raises:
        ModelError: the model leaves out a class token that the tower does not have.

    """
    first = int(processor.num_additional_image_tokens) - (config.vision_feature_select_strategy == "default")
    if first < 0:
        raise ModelError(
            "the model leaves out a class token, but the processor has none; set num_additional_image_tokens "
            "in its processor_config.json to 1 for a CLIP tower"
        )
    return first


def place_in_image(settings: Any, size_hw: tuple[int, int], place: tuple[int, int]) -> tuple[float, float]:
    """Return where a corner of the tower's input is in the image.

    Args:
        settings: the image processor.
        size_hw: size of the image.
        place: px from the top and from the left of the tower's input.

    Returns:
        px from the top and from the left of the image; outside of it where the tower sees padding.

    """
    padding = [0, 0]
    if _squares(settings):
        padding = [(max(size_hw) - length) // 2 for length in size_hw]
        size_hw = (max(size_hw), max(size_hw))
    resized = _resized_hw(settings, size_hw)
    cut = [0, 0]
    if settings.do_center_crop:
        cut = [(resized[axis] - settings.crop_size[name]) // 2 for axis, name in enumerate(("height", "width"))]
    top, left = ((place[axis] + cut[axis]) * size_hw[axis] / resized[axis] - padding[axis] for axis in (0, 1))
    return top, left


def _squares(settings: Any) -> bool:
    """Whether the image is padded to a square first, as LLaVA's image processor can do; others pad batches."""
    return hasattr(settings, "pad_to_square") and bool(settings.do_pad)


def _resized_hw(settings: Any, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the size after resizing, rounded like ``get_resize_output_image_size`` of transformers."""
    size = dict(settings.size)
    if not settings.do_resize:
        return size_hw
    if set(size) == {"height", "width"}:
        return size["height"], size["width"]
    if set(size) != {"shortest_edge"}:
        raise ModelError(f"the processor resizes to {size}; supported are a shortest_edge, or a height and width")
    short, long = sorted(size_hw)
    new_short, new_long = size["shortest_edge"], int(size["shortest_edge"] * long / short)
    return (new_long, new_short) if size_hw[1] <= size_hw[0] else (new_short, new_long)
