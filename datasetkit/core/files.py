"""Local files: atomic writes, flushing, hashing. Owns what makes files durable, and their digests."""

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
    """Write a file completely or not at all, however the process ends; a former file stays until then.

    Yields ``NAME.partial`` next to it, for the body to write. It is removed if the body raises; the next process
    replaces one that a killed process left. A link stays a link, to the new file. Devices, pipes and the like are
    written directly.

    Raises:
        OSError: the file cannot be written; the error names it.

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
    """Write a file completely or not at all; see :func:`whole_file`."""
    with whole_file(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all, with the same bytes on every system; an existing file is replaced."""
    replace_file(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write plain values as readable JSON; equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make system errors without a file name, such as those of a full disk, name this file or folder."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in {None, f"{real_path(path)}{PARTIAL}"}:
            error.filename = str(path)
        raise


def real_path(path: Path) -> Path:
    """Follow links as ``Path.resolve`` does, but keep a link to itself, for which that does not raise ``OSError``."""
    return Path(os.path.realpath(path))


def flush_to_disk(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk; Windows does so with names by itself."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits, reading it in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
