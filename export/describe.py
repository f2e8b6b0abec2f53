"""What makes a built folder readable: recipe, statistics, plots and card. Owns the order in which they are made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from datasetkit.recipe import recipe_yaml
from export.card import render_card
from export.licenses import card_license, license_text
from export.manifest import CARD_NAME, LICENSE_NAME, RECIPE_NAME, Manifest
from export.plots import write_plots
from export.samples import write_samples
from export.statistics import Statistics, compute_statistics


def describe(folder: Path, manifest: Manifest, reason_meanings: Mapping[str, str] | None = None) -> Statistics:
    """Write everything beside the shards and the manifest; all of it follows from these two.

    Args:
        folder: the built folder.
        manifest: its manifest.
        reason_meanings: what the constants in ``phrases.reason`` mean, for the card.

    Raises:
        BuiltFolderError: a shard cannot be read.

    """
    (folder / RECIPE_NAME).write_text(recipe_yaml(manifest.recipe), encoding="utf-8")
    statistics = compute_statistics(folder, manifest)
    statistics.write(folder)
    licenses = statistics.total.licenses
    if "license_link" in card_license(licenses, LICENSE_NAME):
        (folder / LICENSE_NAME).write_text(license_text(licenses), encoding="utf-8")
    samples = write_samples(folder, manifest)
    pictures = [path.name for path in (samples, *write_plots(statistics, folder)) if path is not None]
    (folder / CARD_NAME).write_text(render_card(manifest, statistics, pictures, reason_meanings), encoding="utf-8")
    return statistics
