"""InternVL: tiles of the image squashed to their canvas, then the image as a whole if there are several tiles.

Chen et al., "How Far Are We to GPT-4V?" (arXiv 2404.16821), section 3.3: dynamic high resolution.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from datasetkit.hi_scoring.families.base import Family
from datasetkit.hi_scoring.geometry import ImageTokens, Tower, mosaic


class InternVl(Family):
    """InternVL 2.5 and later, as in transformers: its processor always makes tiles."""

    model_types: ClassVar[tuple[str, ...]] = ("internvl",)
    needs_torchvision: ClassVar[bool] = True

    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """See :meth:`Family.image_tokens`: tiles row by row, each in row-major order, the thumbnail last."""
        settings = processor.image_processor
        side = math.isqrt(processor.image_seq_length)
        tile_hw = (settings.size["height"], settings.size["width"])
        tower = Tower(tile_hw, config.vision_config.patch_size[0], (side, side))
        grid = tile_grid(size_hw, tile_hw, settings.min_patches, settings.max_patches)
        tiles = mosaic(0, grid, (side, side))
        if grid == (1, 1):
            return ImageTokens(size_hw, tiles.size, (tower.squash("global", tiles, size_hw),))
        thumbnail = mosaic(tiles.size, (1, 1), (side, side))
        views = (tower.squash("global", thumbnail, size_hw), tower.squash("tiles", tiles, size_hw))
        return ImageTokens(size_hw, tiles.size + thumbnail.size, views)


def tile_grid(size_hw: tuple[int, int], tile_hw: tuple[int, int], tiles_min: int, tiles_max: int) -> tuple[int, int]:
    """Return the rows and columns of tiles whose shape is nearest to the image's.

    Of equally near ones the last one not over twice the image's area is returned; the order, by number of tiles and
    then by columns, and all arithmetic are those of ``get_optimal_tiled_canvas`` of transformers.
    """
    height, width = size_hw
    grids = [
        (rows, columns)
        for columns in range(1, tiles_max + 1)
        for rows in range(1, tiles_max + 1)
        if tiles_min <= rows * columns <= tiles_max
    ]
    best, best_difference = (1, 1), math.inf
    for rows, columns in sorted(grids, key=math.prod):
        difference = abs(width / height - columns / rows)
        is_large_enough = height * width > 0.5 * math.prod(tile_hw) * rows * columns
        if difference < best_difference or (difference == best_difference and is_large_enough):
            best, best_difference = (rows, columns), difference
    return best
