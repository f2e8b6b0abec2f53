"""Where files are: on this machine, or below an address such as ``s3://bucket/prefix``. Owns the one way to both.

Owns, too, the rule that no name from metadata leads out of the folder that it belongs to.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from datasetkit.core.errors import AddressError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.remote import RemotePath

Place = Path | RemotePath

_ADDRESS = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)
_SECRET = re.compile(r"[^/@]*:[^/@]*@")
_COPY_BYTES = 2**23


def as_place(value: str | Path | RemotePath) -> Place:
    """Tell an address from a path.

    Args:
        value: ``PROTOCOL://...`` for any protocol that fsspec knows, or a path.

    Raises:
        AddressError: the address holds a password, which would be published with the recipe, or several addresses.

    """
    if "\0" in str(value):
        raise AddressError(f"{str(value)!r} holds a null byte, which no path has")
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return value if isinstance(value, RemotePath) else Path(value)
    protocol, rest = match.groups()
    if _SECRET.match(rest) or (protocol in {"http", "https"} and "?" in rest):
        host = rest.partition("@")[2] if _SECRET.match(rest) else rest.partition("?")[0]
        raise AddressError(
            f"the address of {host} holds what may be secret, and would be published with the recipe; give "
            "credentials by the environment or the store's own configuration"
        )
    if "::" in rest or not rest.strip("/"):
        raise AddressError(f"{value!r} names no one place; give an address as s3://bucket/prefix")
    if protocol in {"file", "local"}:
        return Path(rest)
    return RemotePath(f"{protocol}://{rest.rstrip('/')}")


def absolute(path: Path) -> Path:
    """Make a path absolute without following links, as these would change the names that are published."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links


def path_inside(folder: Place, name: str) -> Place:
    """Join a name from untrusted metadata to its folder.

    Args:
        folder: resolved already; a remote one has no links.
        name: relative, with ``/`` or the system's own separator.

    Raises:
        UnusableError: ``path_escapes`` for an absolute name, one with ``..`` or one that a link leads outside.

    """
    relative = PurePosixPath(name)
    if leads_out(name):
        raise UnusableError(DropReason.PATH_ESCAPES, f"{name!r} must be a path below the folder that it belongs to")
    if isinstance(folder, RemotePath):
        return folder / relative
    path = folder / relative
    try:
        target = path.resolve()
    except (OSError, RuntimeError, UnicodeEncodeError) as error:
        raise UnusableError(
            DropReason.UNREADABLE, f"{name!r} leads nowhere: links in a circle, or what no path can hold"
        ) from error
    if not target.is_relative_to(folder):
        raise UnusableError(
            DropReason.PATH_ESCAPES, f"{name!r} is a link that leads out of the folder that it belongs to"
        )
    return path


def leads_out(name: str) -> bool:
    """Tell whether a name is absolute, climbs with ``..``, or is none that a path can hold."""
    relative = PurePosixPath(name)
    is_absolute = relative.is_absolute() or PureWindowsPath(name).is_absolute()
    return is_absolute or ".." in relative.parts or "\0" in name


def files_below(folder: Place) -> list[tuple[str, Place]]:
    """List the files below a folder; hidden files and folders are passed over.

    Returns:
        name relative to the folder, ``/`` between parts, with the file; sorted by the parts of the name.

    """
    found: list[tuple[PurePosixPath, Place]]
    if isinstance(folder, RemotePath):
        found = [(PurePosixPath(name), folder / name) for name in folder.files()]
    else:
        paths = (path for path in folder.rglob("*") if path.is_file())
        found = [(PurePosixPath(path.relative_to(folder).as_posix()), path) for path in paths]
    shown = (item for item in found if not any(part.startswith(".") for part in item[0].parts))
    return [(name.as_posix(), path) for name, path in sorted(shown, key=lambda item: item[0])]


def read_part(path: Place, start: int, length: int) -> bytes:
    """Read so many bytes from ``start`` on, or those that there are; of a remote file in one request."""
    if isinstance(path, RemotePath):
        return path.read_range(start, start + length) if length else b""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def open_local(path: Place) -> IO[bytes]:
    """Open a file that is read here and there; a remote one is fetched once, into a temporary file without a name."""
    if isinstance(path, Path):
        return path.open("rb")
    local = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with path.open() as remote:
        shutil.copyfileobj(remote, local, _COPY_BYTES)
    local.flush()
    return local


def arrow_input(path: Place) -> Path | IO[bytes]:
    """Give what pyarrow reads a file from."""
    return path if isinstance(path, Path) else path.open()
