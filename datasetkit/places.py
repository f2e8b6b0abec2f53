"""Where files are: on this machine, or below an address such as ``s3://bucket/prefix``. Owns the one way to both."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from datasetkit.errors import AddressError
from datasetkit.remote import RemotePath

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
