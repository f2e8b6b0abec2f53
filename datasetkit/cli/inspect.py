"""``datasetkit verify``, ``stats`` and ``preview``: look at what was built. Owns how findings are printed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datasetkit.cli.progress import verify_line
from datasetkit.core.errors import BuiltFolderError, HubError
from datasetkit.core.text import counted

if TYPE_CHECKING:
    from datasetkit.export.dataset.files import DatasetFiles

_PUBLISHED = re.compile(r"(?P<repo_id>[\w.-]*\w[\w.-]*/[\w.-]+)(@(?P<revision>\S+))?")
Folder = Annotated[Path, typer.Argument(help="Folder that a build wrote.")]


def verify(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|USER/NAME[@REVISION]|ADDRESS",
            help="Folder that a build wrote, or its dataset on the Hub or at s3://bucket/prefix.",
        ),
    ],
) -> None:
    """Check every shard, picture, mask, span, id and count; exit code 1 and one line a fault.

    Of a dataset that is not on this machine one shard at a time is on this disk, and nothing in the end.
    """
    from datasetkit.export.dataset.verification.verify import verify_files

    faults = 0
    with _files_of(dataset) as files, verify_line() as (show, hide):
        for fault in verify_files(files, show):
            faults += not fault.is_warning
            hide()
            typer.echo(str(fault))
    if faults:
        typer.echo(f"{counted(faults, 'fault')} in {dataset}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{dataset} is sound")


@contextmanager
def _files_of(dataset: str) -> Iterator[DatasetFiles]:
    """Open a folder, or else what has the form of a repository's name."""
    from datasetkit.core.paths import as_place
    from datasetkit.core.remote import RemotePath

    folder, published = as_place(dataset), _PUBLISHED.fullmatch(dataset)
    if isinstance(folder, RemotePath):
        from datasetkit.export.publish.store.dataset import remote_files

        with remote_files(folder) as files:
            yield files
    elif folder.is_dir():
        from datasetkit.export.dataset.files import FolderFiles

        yield FolderFiles(folder)
    elif published and not folder.exists():
        from datasetkit.export.publish.hub.dataset import published_files

        with ExitStack() as stack:
            try:
                repository = stack.enter_context(published_files(published["repo_id"], published["revision"]))
            except HubError as error:
                raise HubError(f"{dataset} is no folder; {error}", error.status) from error
            yield repository
    else:
        raise BuiltFolderError(
            f"{folder} is no folder; give one that `datasetkit build` wrote, or a dataset on the Hub as user/name"
        )


def stats(folder: Folder) -> None:
    """Print what is in a dataset and draw its plots."""
    from datasetkit.cli.tables import print_tables, statistics_tables
    from datasetkit.export.dataset.manifest import Manifest
    from datasetkit.export.dataset.plots import write_plots
    from datasetkit.export.dataset.statistics import compute_statistics

    statistics = compute_statistics(folder, Manifest.read(folder))
    print_tables(statistics_tables(statistics))
    for path in write_plots(statistics, folder):
        typer.echo(f"wrote {path}")


def preview(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="HTML file to write.  [default: FOLDER.html beside FOLDER]")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show the first N records.")] = 200,
) -> None:
    """Write one self-contained page with pictures, masks and descriptions."""
    from datasetkit.core.schema import row_to_record
    from datasetkit.export.dataset.manifest import Manifest
    from datasetkit.export.dataset.preview import write_preview
    from datasetkit.export.dataset.reading import iter_rows

    manifest = Manifest.read(folder)
    destination = out or folder.parent / f"{folder.resolve().name}.html"
    rows = (row for _, row in itertools.islice(iter_rows(folder, manifest), limit))
    total = sum(manifest.split_rows.values())
    shown = write_preview(map(row_to_record, rows), destination, folder.resolve().name, total)
    typer.echo(f"wrote {destination} ({shown} of {total} records)")


def card(folder: Annotated[Path, typer.Argument(metavar="OUT", help="A built folder.", show_default=False)]) -> None:
    """Write OUT/README.md again from manifest and statistics; your own sections and front-matter keys stay."""
    from datasetkit.export.dataset.describe import update_card
    from datasetkit.pipeline.build import REASON_MEANINGS

    update_card(folder, REASON_MEANINGS)
    typer.echo(f"wrote {folder / 'README.md'}")
