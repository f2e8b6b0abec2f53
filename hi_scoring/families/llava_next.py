"""LLaVA-NeXT: the whole image squashed, then tiles of it merged to one grid with a newline token after each row.

Liu et al., "LLaVA-NeXT" (2024, llava-vl.github.io): any resolution. The image is padded onto the best of several
canvases; rows or columns of tokens that would show only padding are removed.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from transformers.image_processing_utils import select_best_resolution

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.families.base import Family
from datasetkit.hi_scoring.families.llava import first_patch
from datasetkit.hi_scoring.geometry import FloatArray, ImageTokens, Tower, View, mosaic


class LlavaNext(Family):
    """LLaVA-NeXT with CLIP's tower, or with SigLIP's as in Granite Vision 3."""

    model_types: ClassVar[tuple[str, ...]] = ("llava_next",)

    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """See :meth:`Family.image_tokens`: the whole image first, then the tiles' grid row by row."""
        tile_px, patch_px = config.vision_config.image_size, config.vision_config.patch_size
        _check_tiles(processor.image_processor, tile_px)
        side, first = tile_px // patch_px, first_patch(processor, config)
        tower = Tower((tile_px, tile_px), patch_px, (side, side))
        top_bottom, left_right = tile_spans(tower, processor.image_processor.image_grid_pinpoints, size_hw)
        rows, columns = len(top_bottom), len(left_right)
        base = mosaic(first, (1, 1), tower.grid)
        tiles = first + base.size + np.arange(rows * (columns + 1)).reshape(rows, columns + 1)
        views = [tower.squash("global", base, size_hw)]
        # A very long image can have no row left.
        if rows and columns:
            views.append(View("tiles", tiles[:, :-1], top_bottom, left_right))
        return ImageTokens(size_hw, first + base.size + tiles.size, tuple(views))


def tile_spans(tower: Tower, canvases: list[list[int]], size_hw: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Compute what the rows and columns of patches show of an image that is padded onto the best canvas and tiled.

    Args:
        tower: whose tokens are patches; its inputs are the tiles.
        canvases: heights and widths, px.
        size_hw: size of the image.

    Returns:
        px of the image, shapes (rows, 2) and (columns, 2), without those that are removed with the padding.

    """
    canvas_hw = select_best_resolution(size_hw, canvases)
    resized_hw = resized_onto(size_hw, canvas_hw)
    grid = [canvas_hw[axis] // tower.input_hw[axis] * tower.grid[axis] for axis in (0, 1)]

    def spans(axis: int, kept: tuple[int, int]) -> FloatArray:
        padding, scale = (canvas_hw[axis] - resized_hw[axis]) // 2, size_hw[axis] / resized_hw[axis]
        edges = (-padding * scale, (canvas_hw[axis] - padding) * scale)
        return tower.spans(axis, grid[axis], *edges)[slice(*kept)]

    rows, columns = unpadded(size_hw, (grid[0], grid[1]))
    return spans(0, rows), spans(1, columns)


def resized_onto(size_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the image on its canvas, which it fills in one direction, keeping its shape."""
    height, width = size_hw
    scale_h, scale_w = canvas_hw[0] / height, canvas_hw[1] / width
    if scale_w < scale_h:
        return min(math.ceil(height * scale_w), canvas_hw[0]), canvas_hw[1]
    return canvas_hw[0], min(math.ceil(width * scale_h), canvas_hw[1])


def unpadded(size_hw: tuple[int, int], grid: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the rows and columns of a canvas' patches that remain without its padding, [start, stop) each.

    Rounds like ``unpad_image`` of transformers: in patches, and regardless of how the pixels were resized.
    """
    (height, width), (rows, columns) = size_hw, grid
    row_padding = column_padding = 0
    if width / height > columns / rows:
        row_padding = (rows - int(round(height * (columns / width), 7))) // 2
    else:
        column_padding = (columns - int(round(width * (rows / height), 7))) // 2
    return (row_padding, rows - row_padding), (column_padding, columns - column_padding)


def _check_tiles(settings: Any, tile_px: int) -> None:
    size = dict(settings.size)
    crop = dict(settings.crop_size) if settings.do_center_crop else {}
    if {*size.values(), *crop.values()} != {tile_px}:
        raise ModelError(
            f"the processor resizes to {size} and crops to {crop or 'nothing'}, but the model expects {tile_px} px; "
            "supported are processors whose sizes all equal the model's"
        )
