"""The way to another format. Owns where it is written, what may be replaced, and that nothing half done is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from datasetkit.errors import OutputError
from export.formats import FORMATS
from export.formats.built import BuiltDataset
from export.formats.result import ExportResult, Format

# Hidden, so that readers which take every file of a folder pass over it.
MARKER_NAME = ".datasetkit-export.json"


def export_folder(
    folder: Path,
    format_name: str,
    destination: Path,
    *,
    split: str | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExportResult:
    """Write a built folder in another format; the destination appears only when it is complete.

    Args:
        folder: the built folder; it is not changed.
        format_name: one of :data:`export.formats.FORMATS`.
        destination: the folder to write.
        split: the one split to export; None takes all.
        overwrite: whether an earlier export in the destination is replaced.
        on_progress: called with the records that are done and those there are in all.

    Raises:
        UnknownNameError: there is no such format.
        OutputError: the destination is not empty and ``overwrite`` is off or it holds no export, or one of the two
            folders lies in the other.
        BuiltFolderError: the folder holds no build, or not that split.

    """
    write: Format = FORMATS.load(format_name)
    _check_destination(folder, destination, overwrite=overwrite)
    done = 0

    def on_record() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(done, dataset.records)

    dataset = BuiltDataset(folder, split, on_record)
    partial = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        result = write(dataset, partial)
        text = json.dumps({"format": format_name} | asdict(result), indent=1)
        (partial / MARKER_NAME).write_text(text + "\n", encoding="utf-8")
        _put_in_place(partial, destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return result


def _check_destination(folder: Path, destination: Path, *, overwrite: bool) -> None:
    built, wanted = folder.resolve(), destination.resolve()
    if built.is_relative_to(wanted) or wanted.is_relative_to(built):
        raise OutputError(f"{destination} and the built folder {folder} lie in each other; give another DEST")
    if destination.name in {"", ".."}:
        raise OutputError(f"{destination} ends in no name; write it as {wanted}")
    if not destination.exists():
        return
    if not destination.is_dir():
        raise OutputError(f"{destination} is no folder; give another DEST")
    if not any(destination.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{destination} is not empty; give another DEST, or --overwrite to replace an earlier export")
    if not (destination / MARKER_NAME).is_file():
        raise OutputError(f"{destination} holds something that is no export; give another DEST")


def _put_in_place(partial: Path, destination: Path) -> None:
    gone = destination.with_name(f".{destination.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if destination.exists():
        destination.replace(gone)
    partial.replace(destination)
    shutil.rmtree(gone, ignore_errors=True)
