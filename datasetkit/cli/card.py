"""The command ``datasetkit card``: the dataset card, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def card(folder: Annotated[Path, typer.Argument(metavar="OUT", help="A built folder.", show_default=False)]) -> None:
    """Write OUT/README.md again from manifest and statistics; your own sections and front-matter keys stay."""
    from datasetkit.export.dataset.describe import update_card
    from datasetkit.pipeline.build import REASON_MEANINGS

    update_card(folder, REASON_MEANINGS)
    typer.echo(f"wrote {folder / 'README.md'}")
