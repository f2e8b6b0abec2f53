"""All options of a build: their names, ranges and defaults, and recipes as files."""

from datasetkit.options.grounding import GroundingOptions
from datasetkit.options.recipe import Recipe, recipe_yaml
from datasetkit.options.sources import CocoOptions, FolderOptions, ParquetOptions, ToyworldOptions

__all__ = ["CocoOptions", "FolderOptions", "GroundingOptions", "ParquetOptions", "Recipe", "ToyworldOptions"]
__all__ += ["recipe_yaml"]
