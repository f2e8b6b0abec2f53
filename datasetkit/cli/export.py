"""``datasetkit export``: a built folder in another format. Owns how progress and losses are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


def export(
    folder: Annotated[Path, typer.Argument(help="Folder that a build wrote.", show_default=False)],
    destination: Annotated[
        str,
        typer.Argument(metavar="DEST", help="Folder to write, here or at s3://bucket/prefix.", show_default=False),
    ],
    to: Annotated[
        str, typer.Option(help="Format: coco, imagefolder, labelstudio, webdataset or yolo-seg.", show_default=False)
    ],
    split: Annotated[str | None, typer.Option(help="The one split to export.  [default: all]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in DEST.")] = False,
) -> None:
    """Write a dataset in another format, and say what that format has no place for."""
    from datasetkit.core.paths import as_place
    from datasetkit.export.formats.exporting import export_folder
    from datasetkit.export.formats.remote import export_remote

    place = as_place(destination)
    with _progress_bar() as show:
        if isinstance(place, Path):
            result = export_folder(folder, to, place, split=split, overwrite=overwrite, on_progress=show)
        else:
            result = export_remote(folder, to, place, split=split, overwrite=overwrite, on_progress=show)
    typer.echo(f"records      {result.records:,}")
    typer.echo(f"pictures     {result.pictures:,}")
    typer.echo(f"objects      {result.objects:,}")
    for loss in result.losses:
        typer.echo(f"lost         {loss.count:,} {loss.meaning}")
    if result.mean_iou is not None:
        typer.echo(f"mean IoU     {result.mean_iou:.6f} (polygons, filled again, with the masks)")
    typer.echo(f"wrote        {destination}")


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("records"), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("exporting", total=None)

    def show(done: int, total: int) -> None:
        bar.start()  # not before: an error that comes at once stands alone
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()
