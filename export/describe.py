"""What makes a built folder readable: recipe, statistics, plots and card. Owns the order in which they are made."""

from __future__ import annotations

from pathlib import Path

from datasetkit.recipe import recipe_yaml
from export.manifest import RECIPE_NAME, Manifest


def describe(folder: Path, manifest: Manifest) -> None:
    """Write everything beside the shards and the manifest; all of it follows from these two."""
    (folder / RECIPE_NAME).write_text(recipe_yaml(manifest.recipe), encoding="utf-8")
