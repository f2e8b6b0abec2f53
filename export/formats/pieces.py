"""JSON arrays that are written in pieces. Owns the separators of their elements.

A worker writes a file with the elements of a span, which is then appended to the array. Arrays are never in memory.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self


class Piece:
    """A new file of JSON elements; a context manager that closes it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._separator = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, element: Any) -> None:
        """Append an element."""
        self._file.write(self._separator + json.dumps(element, ensure_ascii=False))
        self._separator = ",\n"


class JsonArray:
    """The elements of an array in a file, without brackets.

    Args:
        file: where they are appended.

    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._separator = b""

    def take(self, path: Path) -> None:
        """Append the elements of a piece, and delete it."""
        if path.stat().st_size:
            self._file.write(self._separator)
            self._separator = b",\n"
            with path.open("rb") as piece:
                shutil.copyfileobj(piece, self._file)
        path.unlink()
