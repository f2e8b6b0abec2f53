"""``datasetkit verify``, ``stats`` and ``preview``: look at what was built. Owns how findings are printed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from datasetkit.errors import BuiltFolderError

Folder = Annotated[Path, typer.Argument(help="Folder that a build wrote.")]


def verify(folder: Folder) -> None:
    """Check every shard, picture, mask, span, id and count; exit code 1 and one line a fault."""
    from export.verify import verify_folder

    if not folder.is_dir():
        raise BuiltFolderError(f"{folder} is no folder; give one that `datasetkit build` wrote")
    faults = 0
    for fault in verify_folder(folder):
        faults += not fault.is_warning
        typer.echo(str(fault))
    if faults:
        typer.echo(f"{faults} fault{'' if faults == 1 else 's'} in {folder}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{folder} is sound")


def stats(folder: Folder) -> None:
    """Print what is in a dataset and draw its plots."""
    from rich.console import Console

    from datasetkit.cli.tables import statistics_tables
    from export.manifest import Manifest
    from export.plots import write_plots
    from export.statistics import compute_statistics

    statistics = compute_statistics(folder, Manifest.read(folder))
    console = Console()
    for table in statistics_tables(statistics):
        console.print(table)
    for path in write_plots(statistics, folder):
        typer.echo(f"wrote {path}")


def preview(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="HTML file to write.  [default: FOLDER.html beside FOLDER]")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show the first N records.")] = 200,
) -> None:
    """Write one self-contained page with pictures, masks and descriptions."""
    from datasetkit.schema import row_to_record
    from export.manifest import Manifest
    from export.preview import write_preview
    from export.reading import iter_rows

    manifest = Manifest.read(folder)
    destination = out or folder.parent / f"{folder.resolve().name}.html"
    rows = (row for _, row in itertools.islice(iter_rows(folder, manifest), limit))
    total = sum(manifest.split_rows.values())
    shown = write_preview(map(row_to_record, rows), destination, folder.resolve().name, total)
    typer.echo(f"wrote {destination} ({shown} of {total} records)")
