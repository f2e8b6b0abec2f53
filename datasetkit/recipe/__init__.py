"""Every option of a build: their names, ranges and defaults, and recipes as files."""

from datasetkit.recipe.grounding import GroundingOptions
from datasetkit.recipe.recipe import Recipe, recipe_yaml
from datasetkit.recipe.sources import CocoOptions, FolderOptions, ParquetOptions, ToyworldOptions

__all__ = [
    "CocoOptions",
    "FolderOptions",
    "GroundingOptions",
    "ParquetOptions",
    "Recipe",
    "ToyworldOptions",
    "recipe_yaml",
]
