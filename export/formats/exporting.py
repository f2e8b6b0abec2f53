"""Export to another format. Owns the destination, what may be replaced, and the rule that no partial export is left.

Exports to a remote store are completed on this disk first.
"""

from __future__ import annotations

import glob
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from datasetkit.core.documents import DocumentError, load_json, read_json
from datasetkit.core.errors import OutputError
from datasetkit.core.files import naming, real_path, write_text
from datasetkit.core.paths import EXPORT_JOURNAL, EXPORT_MARKER, Place
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import first_few
from datasetkit.export.formats import FORMATS
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.export.formats.result import ExportResult, Format
from datasetkit.export.publish.files import local_file
from datasetkit.export.publish.store.sending import compare, read_journal, send
from datasetkit.options.engines import WorkerOptions
from datasetkit.runtime.progress import OnProgress

_MOST_NAMES = 3
_OLD, _LOCK = "old", "lock"


def export_folder(
    folder: Path,
    format_name: str,
    destination: Path,
    *,
    split: str | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    workers: WorkerOptions | None = None,
) -> ExportResult:
    """Export a built folder to another format; the destination appears only when it is complete.

    For the options see ``Built.export``; without ``workers`` there is one per processor.

    Raises:
        UnknownNameError: there is no such format.
        OutputError: the destination is not empty and ``overwrite`` is off, or it contains anything that no export
            wrote, or one of the two folders is inside the other.
        BuiltFolderError: the folder contains no build, or not that split.
        EngineError: three workers died on the same images, or no worker can be kept alive.

    """
    write: Format = FORMATS.load(format_name)
    _check_destination(folder, destination, overwrite=overwrite)
    dataset = BuiltDataset(folder, split)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with naming(destination), _workplace(destination) as temporary:
        partial = temporary / "new"
        partial.mkdir()
        with dataset.converting(workers or WorkerOptions(), on_progress):
            result = write(dataset, partial)
        value = {"format": format_name} | asdict(result) | {"files": [*_files(partial), EXPORT_MARKER]}
        del value["destination"]  # it may be moved
        write_text(partial / EXPORT_MARKER, json.dumps(value, indent=1) + "\n")
        _check_destination(folder, destination, overwrite=overwrite)  # again: files may have appeared meanwhile
        if destination.exists():
            destination.replace(temporary / _OLD)
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
    workers: WorkerOptions | None = None,
) -> ExportResult:
    """Export a built folder to another format in a remote store; its marker is written last.

    Files there that no export wrote are kept. For the options see :func:`export_folder`.

    Raises:
        UnknownNameError: there is no such format.
        OutputError: the destination is not empty and ``overwrite`` is off or it contains no export, or a file that no
            export wrote would be replaced.
        BuiltFolderError: the folder contains no build, or not that split.
        OSError: the store refuses something, or cannot be reached.

    """
    listed = destination.files()
    unfinished = EXPORT_JOURNAL in listed
    former = _former_files(destination, listed, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="datasetkit-") as temporary:
        local = Path(temporary) / "export"
        result = export_folder(folder, format_name, local, split=split, on_progress=on_progress, workers=workers)
        names = read_json(local / EXPORT_MARKER)["files"]  # the marker itself is the last
        files = [local_file(local, name, lambda _: None) for name in names]
        difference = compare(destination, listed, files, former=former, known={}, unfinished=unfinished)
        if foreign := difference.foreign.refused:
            raise OutputError(f"{destination} contains {first_few(foreign)}, which no export wrote; give another DEST")
        send(local, destination, difference, EXPORT_JOURNAL)
    return replace(result, destination=str(destination))


@contextmanager
def _workplace(destination: Path) -> Iterator[Path]:
    """Yield a hidden folder next to a destination, after cleaning up what killed exports left.

    Each export has its own folder, so that two exports to one destination do not mix; a lock marks a running one.
    """
    prefix = f".{destination.name}.export-"
    for left in destination.parent.glob(f"{glob.escape(prefix)}*/{_LOCK}"):
        with suppress(Timeout), FileLock(left, timeout=0):
            if (left.parent / _OLD).exists() and not destination.exists():
                (left.parent / _OLD).replace(destination)
            shutil.rmtree(left.parent, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=destination.parent) as folder, FileLock(Path(folder) / _LOCK):
        yield Path(folder)


def _check_destination(folder: Path, destination: Path, *, overwrite: bool) -> None:
    built, wanted = real_path(folder), real_path(destination)
    if built.is_relative_to(wanted) or wanted.is_relative_to(built):
        raise OutputError(f"one of {destination} and the built folder {folder} is inside the other; give another DEST")
    if destination.name in {"", ".."}:
        raise OutputError(f"{destination} does not end in a name; write it as {wanted}")
    if not destination.exists():
        return
    if not destination.is_dir():
        raise OutputError(f"{destination} is not a folder; give another DEST")
    if not any(destination.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{destination} is not empty; give another DEST, or --overwrite to replace an earlier export")
    foreign = sorted(set(_files(destination)) - _exported_files(destination))
    if foreign:
        names = ", ".join(map(repr, foreign[:_MOST_NAMES]))
        more = f" and {len(foreign) - _MOST_NAMES} more" if len(foreign) > _MOST_NAMES else ""
        raise OutputError(
            f"{destination} contains {names}{more}, which no export wrote; move that away, or give another DEST"
        )


def _exported_files(destination: Place) -> frozenset[str]:
    """Return the files that an earlier export wrote, from its marker."""
    path = destination / EXPORT_MARKER
    try:
        marker = load_json(path.read_bytes())
    except FileNotFoundError:
        raise OutputError(f"{destination} contains something else than an export; give another DEST") from None
    except DocumentError as error:
        raise OutputError(f"{path} does not list the files of an export ({error}); give another DEST") from None
    names = marker.get("files") if isinstance(marker, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise OutputError(f"{path} does not list the files of an export; give another DEST")
    return frozenset(names)


def _former_files(destination: RemotePath, listed: Mapping[str, int], *, overwrite: bool) -> set[str]:
    """Return the files of an earlier export, even an interrupted one; refuse everything else there."""
    left = read_journal(destination, EXPORT_JOURNAL, listed)
    if not listed or (left and not overwrite):
        return left
    if not overwrite:
        raise OutputError(f"{destination} is not empty; give another DEST, or --overwrite to replace an earlier export")
    if EXPORT_MARKER not in listed and not left:
        raise OutputError(f"{destination} contains something else than an export; give another DEST")
    return left | _exported_files(destination) if EXPORT_MARKER in listed else left


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
