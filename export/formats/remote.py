"""Exports to a remote store. Owns that they are made whole on this disk first, and what they may replace there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from datasetkit.core.errors import OutputError
from datasetkit.core.remote import RemotePath
from datasetkit.export.formats.exporting import MARKER_NAME, export_folder
from datasetkit.export.formats.result import ExportResult
from datasetkit.export.publish.files import local_file
from datasetkit.export.publish.store.sending import compare, read_journal, send
from datasetkit.runtime.progress import OnProgress

_JOURNAL_NAME = ".datasetkit-export-journal.json"


def export_remote(
    folder: Path,
    format_name: str,
    destination: RemotePath,
    *,
    split: str | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportResult:
    """Write a built folder in another format to a remote store; its marker comes last.

    Files there that no export wrote stay. For the options see ``Built.export``.

    Raises:
        UnknownNameError: there is no such format.
        OutputError: the destination is not empty and ``overwrite`` is off or it holds no export.
        BuiltFolderError: the folder holds no build, or not that split.
        OSError: the store refuses something, or cannot be reached.

    """
    listed = destination.files()
    unfinished = _JOURNAL_NAME in listed
    former = _former_files(destination, listed, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="datasetkit-") as temporary:
        local = Path(temporary) / "export"
        result = export_folder(folder, format_name, local, split=split, on_progress=on_progress)
        names = json.loads((local / MARKER_NAME).read_bytes())["files"]  # the marker itself is the last
        files = [local_file(local, name, lambda _: None) for name in names]
        difference = compare(destination, listed, files, former=former, known={}, unfinished=unfinished)
        send(local, destination, difference, _JOURNAL_NAME)
    return replace(result, destination=str(destination))


def _former_files(destination: RemotePath, listed: Mapping[str, int], *, overwrite: bool) -> set[str]:
    """Name the files of an earlier export, also of one that was cut short; refuse everything else that is there."""
    left = read_journal(destination, _JOURNAL_NAME, listed)
    if not listed or (left and not overwrite):
        return left
    if not overwrite:
        raise OutputError(f"{destination} is not empty; give another DEST, or --overwrite to replace an earlier export")
    if MARKER_NAME not in listed and not left:
        raise OutputError(f"{destination} holds something that is no export; give another DEST")
    marker = json.loads((destination / MARKER_NAME).read_bytes()) if MARKER_NAME in listed else {}
    return left.union(marker.get("files", ()))
