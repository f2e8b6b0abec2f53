"""The way to another format. Owns where it is written, what may be replaced, and that nothing half done is left.

Exports to a remote store are made whole on this disk first.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from datasetkit.core.errors import OutputError
from datasetkit.core.files import write_text
from datasetkit.core.paths import EXPORT_JOURNAL, EXPORT_MARKER
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import first_few
from datasetkit.export.formats import FORMATS
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.export.formats.result import ExportResult, Format
from datasetkit.export.publish.files import local_file
from datasetkit.export.publish.store.sending import compare, read_journal, send
from datasetkit.runtime.progress import OnProgress

_NAMES_TOLD = 3


def export_folder(
    folder: Path,
    format_name: str,
    destination: Path,
    *,
    split: str | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportResult:
    """Write a built folder in another format; the destination appears only when it is complete.

    For the options see ``Built.export``.

    Raises:
        UnknownNameError: there is no such format.
        OutputError: the destination is not empty and ``overwrite`` is off or it holds anything that no export wrote,
            or one of the two folders lies in the other.
        BuiltFolderError: the folder holds no build, or not that split.

    """
    write: Format = FORMATS.load(format_name)
    _check_destination(folder, destination, overwrite=overwrite)
    dataset = BuiltDataset(folder, split, on_progress)
    destination.parent.mkdir(parents=True, exist_ok=True)
    # Of its own name, so that two exports to one place do not write into each other.
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as temporary:
        partial = Path(temporary) / "new"
        partial.mkdir()
        result = write(dataset, partial)
        value = {"format": format_name} | asdict(result) | {"files": [*_files(partial), EXPORT_MARKER]}
        del value["destination"]  # it may be moved
        write_text(partial / EXPORT_MARKER, json.dumps(value, indent=1) + "\n")
        _check_destination(folder, destination, overwrite=overwrite)  # again: much may have come there meanwhile
        if destination.exists():
            destination.replace(Path(temporary) / "old")
        partial.replace(destination)
    return replace(result, destination=str(destination))


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
        OutputError: the destination is not empty and ``overwrite`` is off or it holds no export, or a file that no
            export wrote would be replaced.
        BuiltFolderError: the folder holds no build, or not that split.
        OSError: the store refuses something, or cannot be reached.

    """
    listed = destination.files()
    unfinished = EXPORT_JOURNAL in listed
    former = _former_files(destination, listed, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="datasetkit-") as temporary:
        local = Path(temporary) / "export"
        result = export_folder(folder, format_name, local, split=split, on_progress=on_progress)
        names = json.loads((local / EXPORT_MARKER).read_bytes())["files"]  # the marker itself is the last
        files = [local_file(local, name, lambda _: None) for name in names]
        difference = compare(destination, listed, files, former=former, known={}, unfinished=unfinished)
        if foreign := difference.foreign.refused:
            raise OutputError(f"{destination} holds {first_few(foreign)}, which no export wrote; give another DEST")
        send(local, destination, difference, EXPORT_JOURNAL)
    return replace(result, destination=str(destination))


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
    foreign = sorted(set(_files(destination)) - _exported_files(destination))
    if foreign:
        told = ", ".join(map(repr, foreign[:_NAMES_TOLD]))
        more = f" and {len(foreign) - _NAMES_TOLD} more" if len(foreign) > _NAMES_TOLD else ""
        raise OutputError(
            f"{destination} holds {told}{more}, which no export wrote; move that away, or give another DEST"
        )


def _exported_files(destination: Path) -> frozenset[str]:
    """Name the files that an earlier export wrote, by its marker."""
    try:
        marker = json.loads((destination / EXPORT_MARKER).read_text(encoding="utf-8"))
        return frozenset(marker["files"])
    except FileNotFoundError:
        raise OutputError(f"{destination} holds something that is no export; give another DEST") from None
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{destination / EXPORT_MARKER} does not name the files of an export ({error!r}); give another DEST"
        ) from error


def _former_files(destination: RemotePath, listed: Mapping[str, int], *, overwrite: bool) -> set[str]:
    """Name the files of an earlier export, also of one that was cut short; refuse everything else that is there."""
    left = read_journal(destination, EXPORT_JOURNAL, listed)
    if not listed or (left and not overwrite):
        return left
    if not overwrite:
        raise OutputError(f"{destination} is not empty; give another DEST, or --overwrite to replace an earlier export")
    if EXPORT_MARKER not in listed and not left:
        raise OutputError(f"{destination} holds something that is no export; give another DEST")
    marker = json.loads((destination / EXPORT_MARKER).read_bytes()) if EXPORT_MARKER in listed else {}
    return left.union(marker.get("files", ()))


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
