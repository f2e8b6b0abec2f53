"""``datasetkit report``: join a model's results into one page. Owns its options and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="Results of one model, as score, knockout, ablate, sparsify, compare or tune wrote them.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="PAGE.html", help="The page.")] = Path("report.html"),
) -> None:
    """Join all that was measured of a model into one page, with a verdict on each claim of the papers."""
    from rich.console import Console

    from datasetkit.hi_scoring.joined.claims import claims
    from datasetkit.hi_scoring.joined.folders import read_folders
    from datasetkit.hi_scoring.joined.page import write_page
    from datasetkit.hi_scoring.joined.terminal import claims_table
    from datasetkit.hi_scoring.report.pages import check_place

    check_place(out)
    found = read_folders(folders)
    verdicts = claims(found)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_page(out, found, verdicts)
    Console().print(claims_table(verdicts))
    typer.echo(f"open {out} in a browser")
