"""Files on this machine: put in place whole, flushed, hashed. Owns what makes them durable, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in place whole or not at all, whenever the process ends; what was cut short is ``NAME.partial``."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text with the same bytes on every system; a file that is there is replaced."""
    path.write_bytes(text.encode())


def write_json(path: Path, value: object) -> None:
    """Write plain values as JSON that people can read, too; equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


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
