"""HTML pages that datasetkit writes. Owns how they are recognised, so that no other file is replaced by one."""

from __future__ import annotations

from pathlib import Path

from datasetkit.core.errors import OutputError

# Near the beginning of every page; previews before 0.5 had the second only.
_MARKS = (b'<meta name="generator" content="datasetkit">', b"style-src 'unsafe-inline'; script-src 'sha256-")
_HEAD_BYTES = 2048


def check_page(path: Path, example: str) -> None:
    """Refuse a path where writing a page would destroy something else.

    Args:
        path: path of the page, which need not exist.
        example: file name to suggest if the path is a folder.

    Raises:
        OutputError: it is a folder, or a file that is not a page written by datasetkit.

    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give a file, such as {path / example}")
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head and not any(mark in head for mark in _MARKS):
            raise OutputError(f"{path} exists and is not a page written by datasetkit; give another --out")
