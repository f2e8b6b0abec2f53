"""Files on this machine: put in place whole, flushed, hashed. Owns what makes them durable, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Put a file in place whole or not at all, however the process ends; a former one stays until then.

    Yields ``NAME.partial`` next to it, for the body to write. Where the body raises it is removed; what a killed
    process left there is replaced by the next one. A link stays a link, to the new file. What is no file, as a device
    or a pipe, is written itself.

    Raises:
        OSError: something cannot be written; it names the file.

    """
    with naming(path):
        path = real_path(path)
        if path.exists() and not path.is_file():
            yield path
            return
        partial = path.with_name(f"{path.name}{PARTIAL}")
        try:
            yield partial
            flush_to_disk(partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in place whole or not at all; see :func:`whole_file`."""
    with whole_file(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all, with the same bytes on every system; a file that is there is replaced."""
    replace_file(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write plain values as JSON that people can read, too; equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors of the system that name no file, as those of a full disk, name this file or folder."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in {None, f"{real_path(path)}{PARTIAL}"}:
            error.filename = str(path)
        raise


def real_path(path: Path) -> Path:
    """Follow links, as ``Path.resolve`` does, which raises no ``OSError`` for a link to itself; that one stays here."""
    return Path(os.path.realpath(path))


def flush_to_disk(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now; Windows does so with names by itself."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Compute a file's SHA-256 as 64 hex digits, reading it piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
