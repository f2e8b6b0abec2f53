"""The card of a build that another one replaces. Owns what of it is kept for the next card in the same folder."""

from __future__ import annotations

from pathlib import Path

from datasetkit.core.errors import BuiltFolderError, OutputError
from datasetkit.export.dataset.card.render import render_card
from datasetkit.export.dataset.card.sections import owners_part
from datasetkit.export.dataset.manifest import CARD_NAME, Manifest
from datasetkit.export.dataset.statistics import Statistics


def former_card(folder: Path) -> str | None:
    """Give a built folder's card without the front matter that was generated; None where nothing is its owner's.

    Raises:
        OutputError: the card cannot be read.

    """
    path = folder / CARD_NAME
    if not path.is_file():
        return None
    try:
        card = path.read_text(encoding="utf-8")
        return owners_part(card, render_card(Manifest.read(folder), Statistics.read(folder)))
    except (UnicodeDecodeError, BuiltFolderError) as error:
        raise OutputError(f"{path} cannot be kept: {error}; mend or delete it, or give another --out") from error
