"""Rows passed as objects: a Dataset, or a list of dictionaries. Owns how they are read and identified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasetkit.core.errors import SourceError


class ListedRows:
    """A list of dictionaries with the methods of ``datasets.Dataset`` that we use.

    Args:
        rows: the rows in order; an ``image`` may be a PIL image, an array, bytes, a path, or a mapping with bytes or a
            path.
        columns: the visible columns; None for all columns of any row.

    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
        self._rows = rows
        self.column_names = list(dict.fromkeys(name for row in rows for name in row)) if columns is None else columns

    def select_columns(self, columns: Sequence[str]) -> ListedRows:
        """Return the rows with these columns only."""
        return ListedRows(self._rows, columns)

    def remove_columns(self, column: str) -> ListedRows:
        """Return the rows without a column."""
        return ListedRows(self._rows, [name for name in self.column_names if name != column])

    def select(self, places: Iterable[int]) -> ListedRows:
        """Return the rows at these indices."""
        return ListedRows([self._rows[place] for place in places], self.column_names)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            return [row.get(item) for row in self._rows]
        row = {name: value for name, value in self._rows[item].items() if name in self.column_names}
        image = row.get("image")
        if isinstance(image, str | PathLike):
            row["image"] = {"bytes": None, "path": str(image)}
        elif isinstance(image, bytes):
            row["image"] = {"bytes": image, "path": None}
        return row


def given_splits(rows: object, usual: str) -> Mapping[str, Any]:
    """Return rows by split: those of a ``DatasetDict``, a ``Dataset`` (with its split), or a list of dictionaries.

    Args:
        rows: the object with the rows.
        usual: the split of rows that name none.

    Raises:
        SourceError: the object is none of these.

    """
    if isinstance(rows, list | tuple) and all(isinstance(row, Mapping) for row in rows):
        return {usual: ListedRows(rows)}
    if isinstance(rows, Mapping) and all(hasattr(one, "select_columns") for one in rows.values()):
        return {str(name): undecoded(one) for name, one in rows.items()}
    if hasattr(rows, "select_columns") and hasattr(rows, "with_format") and hasattr(rows, "__len__"):
        return {str(getattr(rows, "split", None) or usual): undecoded(rows)}
    raise SourceError(
        f"rows are a {type(rows).__name__}; give a name, a folder, a datasets.Dataset or a list of dictionaries"
    )


def undecoded(rows: Any) -> Any:
    """Return a Dataset's rows with undecoded images, so that a damaged image drops only its row."""
    import datasets

    plain = rows.with_format(None)
    is_image = isinstance(rows.features.get("image"), datasets.Image)
    return plain.cast_column("image", datasets.Image(decode=False)) if is_image else plain


def rows_sha256(rows: Any) -> str:
    """Return the hash of the content of rows: equal rows have equal hashes, wherever they come from."""
    digest = hashlib.sha256()
    for place in range(len(rows)):
        row = dict(rows[place])
        image = row.get("image")
        if isinstance(image, Mapping) and image.get("bytes") is None and Path(image.get("path") or "").is_file():
            row["image"] = Path(image["path"]).read_bytes()
        digest.update(json.dumps(row, sort_keys=True, default=_hashable).encode())
    return digest.hexdigest()


def _hashable(value: Any) -> Any:
    """Return a JSON value for a value that JSON cannot represent, by its content."""
    if isinstance(value, Image.Image) or hasattr(value, "__array__"):
        array = np.ascontiguousarray(value)
        return [str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else str(value)
