"""Locations of files: local paths, or URIs such as ``s3://bucket/prefix``. Owns the common interface of both.

Also owns the rule that no name from metadata leads outside the folder that it belongs to.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from operator import itemgetter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from datasetkit.core.addresses import LOCAL_SCHEMES, check_public, split_address
from datasetkit.core.errors import AddressError, UnusableError
from datasetkit.core.files import real_path
from datasetkit.core.ledger import DropReason, PassedOverCounts, PassedOverKind
from datasetkit.core.remote import RemotePath

Place = Path | RemotePath

_COPY_BYTES = 2**23
_MOST_NAMES = 1000
# Notes of `datasetkit export` on what it wrote; hidden, so that readers of whole folders skip them.
EXPORT_MARKER = ".datasetkit-export.json"
EXPORT_JOURNAL = ".datasetkit-export-journal.json"
# Folder in an object store for what belongs to a dataset and is not published; also hidden.
BESIDE = ".datasetkit"
_NOTES = frozenset({EXPORT_MARKER, EXPORT_JOURNAL, BESIDE})


def path_text(value: object) -> str:
    """Return a path, a URI or a name on the Hub as text.

    Raises:
        AddressError: the value is none of these.

    """
    text = value if isinstance(value, str) else os.fspath(value) if isinstance(value, os.PathLike) else None
    if not isinstance(text, str):
        raise AddressError(f"a {type(value).__name__} is not a path; give a path, a URI or a name as text")
    if "\0" in text:
        raise AddressError(f"{text!r} contains a null byte, which paths cannot have")
    return text


def as_place(value: str | Path | RemotePath) -> Place:
    """Return a URI as :class:`RemotePath`, and anything else as a path.

    Args:
        value: ``SCHEME://...`` for one of :data:`~datasetkit.core.addresses.SCHEMES`, or a path.

    Raises:
        AddressError: the scheme is not allowed, or the URI is misspelt, does not name a single location, or contains a
            password or a query, which would be published with the recipe.

    """
    if "\0" in str(value):
        raise AddressError(f"{str(value)!r} contains a null byte, which paths cannot have")
    split = split_address(value) if isinstance(value, str) else None
    if split is None:
        return value if isinstance(value, RemotePath) else Path(value)
    scheme, rest = split
    check_public(scheme, rest)
    if scheme in LOCAL_SCHEMES:
        return Path(rest)
    if not rest.strip("/") or rest.startswith("/"):
        raise AddressError(f"{value!r} does not name a single location; give a URI such as s3://bucket/prefix")
    return RemotePath(f"{scheme}://{rest.rstrip('/')}")


def absolute(path: Path) -> Path:
    """Return an absolute path without following links, which would change the published names."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links


def path_inside(folder: Place, name: str) -> Place:
    """Join an untrusted name from metadata to its folder; links that the owner of the folder made are followed.

    Args:
        folder: the folder.
        name: relative, with ``/`` between parts.

    Raises:
        UnusableError: ``path_escapes`` for an absolute name or one with ``..``, ``unreadable`` for one that is not
            a valid path.

    """
    if leads_out(name):
        raise UnusableError(DropReason.PATH_ESCAPES, f"{name!r} must be a path inside the folder that it belongs to")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise UnusableError(DropReason.UNREADABLE, f"{name!r} is not a valid path") from None
    return folder / PurePosixPath(name)


def path_beside(place: Place, name: str) -> Place:
    """Return the path of a file that belongs to a dataset and is not published.

    It is hidden next to a folder, and in a hidden folder below a URI, since there may be nothing next to it.
    """
    if isinstance(place, RemotePath):
        return place / BESIDE / name
    whole = real_path(place)
    return whole.parent / f".{whole.name}.{name}"


def is_inside(place: Place, folder: Place) -> bool:
    """Return whether a place is a folder, or below it; links are followed."""
    if isinstance(place, Path) and isinstance(folder, Path):
        return real_path(place).is_relative_to(real_path(folder))
    return type(place) is type(folder) and f"{place}/".startswith(f"{folder}/")


def leads_out(name: str) -> bool:
    """Return whether a name is absolute, contains ``..``, or is not a valid path."""
    relative = PurePosixPath(name)
    is_absolute = relative.is_absolute() or PureWindowsPath(name).is_absolute()
    return is_absolute or ".." in relative.parts or "\0" in name


def files_below(folder: Place, passed_over: PassedOverCounts | None = None) -> list[tuple[str, Place]]:
    """Return the files below a folder, each linked folder once; hidden files and folders are passed over.

    Args:
        folder: the folder.
        passed_over: counts hidden files, broken links, pipes and the like.

    Returns:
        files with their names relative to the folder, ``/`` between parts; sorted by the parts of the name.

    """
    passed_over = PassedOverCounts() if passed_over is None else passed_over
    found: list[tuple[PurePosixPath, Place]] = []
    if isinstance(folder, RemotePath):
        hidden: dict[str, None] = {}
        for name in folder.files():
            parts = PurePosixPath(name).parts
            place = next((number for number, part in enumerate(parts, 1) if part.startswith(".")), None)
            if place is None:
                found.append((PurePosixPath(name), folder / name))
            else:
                hidden["/".join(parts[:place])] = None
        for name in sorted(hidden.keys() - _NOTES):
            passed_over.add(PassedOverKind.HIDDEN, name)
    else:
        found = [(PurePosixPath(name), folder / name) for name in _local_files(folder, passed_over)]
    return [(name.as_posix(), path) for name, path in sorted(found, key=itemgetter(0))]


def _local_files(root: Path, passed_over: PassedOverCounts) -> Iterator[str]:
    """Yield names below a folder; linked folders come last, so that each folder is read under its real name."""
    seen: set[tuple[int, int]] = set()
    waiting, links = [""], deque[str]()
    while waiting or links:
        name = waiting.pop() if waiting else links.popleft()
        try:
            status = (root / name).stat()
            entries = sorted(os.scandir(root / name), key=lambda entry: entry.name)
        except OSError:
            passed_over.add(PassedOverKind.CLOSED_FOLDER, name or ".")
            continue
        if (status.st_dev, status.st_ino) in seen:
            passed_over.add(PassedOverKind.LINKED_AGAIN, name)
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            below = f"{name}/{entry.name}".lstrip("/")
            kind = _kind_of(entry)
            if kind is not None:
                if below not in _NOTES:
                    passed_over.add(kind, below)
            elif entry.is_dir():
                (links if entry.is_symlink() else waiting).append(below)
            else:
                yield below


def _kind_of(entry: os.DirEntry[str]) -> PassedOverKind | None:
    """Return why an entry of a folder is passed over; None for a file or folder."""
    if entry.name.startswith("."):
        return PassedOverKind.HIDDEN
    try:
        mode = entry.stat().st_mode
    except OSError:  # a broken or circular link
        return PassedOverKind.DANGLING_LINK
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else PassedOverKind.NOT_A_FILE


def read_part(path: Place, start: int, length: int) -> bytes:
    """Return up to this many bytes from ``start`` on; a remote file needs one request."""
    if isinstance(path, RemotePath):
        return path.read_range(start, start + length) if length else b""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def open_local(path: Place) -> IO[bytes]:
    """Open a file for random access; a remote one is downloaded once, to an unnamed temporary file."""
    if isinstance(path, Path):
        return path.open("rb")
    local = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with path.open() as remote:
        shutil.copyfileobj(remote, local, _COPY_BYTES)
    local.flush()
    return local


def arrow_input(path: Place) -> Path | IO[bytes]:
    """Return an object from which pyarrow reads a file."""
    return path if isinstance(path, Path) else path.open()


def unread(path: Place, error: OSError) -> str:
    """Return in one line why a file cannot be read; of a missing one, with the name in its folder that is nearest."""
    if not isinstance(error, FileNotFoundError):
        return f"{path} cannot be read: {error.strerror or error}"
    meant = ""
    if isinstance(path, Path):
        with suppress(OSError):
            names = [one.name for one in islice(path.parent.iterdir(), _MOST_NAMES)]
            meant = "".join(
                f"; did you mean {path.with_name(name)}?" for name in get_close_matches(path.name, names, 1)
            )
    return f"{path} does not exist{meant}"
