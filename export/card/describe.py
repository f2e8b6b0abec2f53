"""Files that describe a built folder: recipe, statistics, plots and card. Owns the order of their creation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import write_text
from datasetkit.export.card.front_matter import read_front_matter
from datasetkit.export.card.licenses import card_license, license_text
from datasetkit.export.card.parts import split_card
from datasetkit.export.card.render import render_card
from datasetkit.export.card.samples import FindShard, write_samples
from datasetkit.export.card.sections import merge_card
from datasetkit.export.dataset.manifest import ASSETS_FOLDER, CARD_NAME, IMAGES, LICENSE_NAME, RECIPE_NAME, Manifest
from datasetkit.export.statistics.statistics import Statistics
from datasetkit.options import recipe_yaml


def describe(
    folder: Path,
    manifest: Manifest,
    statistics: Statistics,
    reason_meanings: Mapping[str, str] | None = None,
    former_card: str | None = None,
    find_shard: FindShard | None = None,
) -> Manifest:
    """Write everything except shards and manifest, from which it all follows.

    Of the shards, only those with a sample are read. The manifest is rewritten, and returned, with the names of files
    that not every folder has. The new card keeps what the owner of ``former_card`` wrote; for ``reason_meanings`` see
    :func:`render_card`, for ``find_shard`` :func:`write_samples`.

    Raises:
        BuiltFolderError: a shard cannot be read.

    """
    write_text(folder / RECIPE_NAME, recipe_yaml(manifest.recipe))
    statistics.write(folder)
    licenses = statistics.total.licenses
    lists_licenses = "license_link" in card_license(licenses, LICENSE_NAME)
    samples = write_samples(folder, manifest, find_shard)
    images = [path.name for path in (samples, *write_plots(statistics, folder)) if path is not None]
    files = (*(f"{ASSETS_FOLDER}/{name}" for name in images), *([LICENSE_NAME] if lists_licenses else []))
    manifest = replace(manifest, files=files)
    manifest.write(folder)
    if lists_licenses:
        write_text(folder / LICENSE_NAME, license_text(licenses))
    card = _merged_card(manifest, statistics, images, reason_meanings, former_card)
    write_text(folder / CARD_NAME, card)
    return manifest


def update_card(folder: Path, reason_meanings: Mapping[str, str] | None = None) -> None:
    """Rewrite the card of a built folder from the files next to it, keeping what its owner wrote.

    For ``reason_meanings`` see :func:`render_card`.

    Raises:
        BuiltFolderError: manifest, statistics or the card's front matter cannot be read.

    """
    manifest, statistics = Manifest.read(folder), Statistics.read(folder)
    images = [name for name in IMAGES if (folder / ASSETS_FOLDER / name).is_file()]
    path = folder / CARD_NAME
    try:
        published = path.read_text(encoding="utf-8") if path.exists() else None
    except UnicodeDecodeError as error:
        raise BuiltFolderError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    try:
        card = _merged_card(manifest, statistics, images, reason_meanings, published)
    except BuiltFolderError as error:
        raise BuiltFolderError(f"{path} cannot be kept: {error}; fix it, then run this again") from error
    write_text(path, card)


def _merged_card(
    manifest: Manifest,
    statistics: Statistics,
    images: Sequence[str],
    reason_meanings: Mapping[str, str] | None,
    published: str | None,
) -> str:
    if published is None:
        return render_card(manifest, statistics, images, reason_meanings)
    front, _ = split_card(published)
    name = read_front_matter(published).get("pretty_name") if front.strip() else None
    title = name if isinstance(name, str) and name.strip() else None  # the name that the owner gave the dataset
    return merge_card(render_card(manifest, statistics, images, reason_meanings, title), published)


def write_plots(statistics: Statistics, folder: Path) -> tuple[Path, ...]:
    """Draw the plots; matplotlib is imported late, so that errors in arguments are reported at once."""
    from datasetkit.export.statistics import plots

    return plots.write_plots(statistics, folder)
