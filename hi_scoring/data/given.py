"""Rows that are here as objects: a Dataset, or a list of dictionaries. Owns how they are read and identified."""

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
    """A list of dictionaries with what is used of a ``datasets.Dataset``.

    Args:
        rows: in order; an ``image`` may be of PIL, an array, bytes, a path, or a mapping with bytes or a path.
        columns: that are shown; None for all that any row has.

    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
        self._rows = rows
        self.column_names = list(dict.fromkeys(name for row in rows for name in row)) if columns is None else columns

    def select_columns(self, columns: Sequence[str]) -> ListedRows:
        """Show some columns only."""
        return ListedRows(self._rows, columns)

    def remove_columns(self, column: str) -> ListedRows:
        """Hide a column."""
        return ListedRows(self._rows, [name for name in self.column_names if name != column])

    def select(self, places: Iterable[int]) -> ListedRows:
        """Take some rows only."""
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
    """Return rows by split: those of a ``DatasetDict``, a ``Dataset`` (its own split), or a list of dictionaries.

    Args:
        rows: the object.
        usual: the split that rows are taken for which say nothing of it.

    Raises:
        SourceError: it is none of these.

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
    """Read a Dataset's rows as plain values and its images as they are: a damaged one is then one row's drop."""
    import datasets

    plain = rows.with_format(None)
    is_image = isinstance(rows.features.get("image"), datasets.Image)
    return plain.cast_column("image", datasets.Image(decode=False)) if is_image else plain


def rows_sha256(rows: Any) -> str:
    """Hash the content of rows: equal rows have equal digests, wherever they came from."""
    digest = hashlib.sha256()
    for place in range(len(rows)):
        row = dict(rows[place])
        image = row.get("image")
        if isinstance(image, Mapping) and image.get("bytes") is None and Path(image.get("path") or "").is_file():
            row["image"] = Path(image["path"]).read_bytes()
        digest.update(json.dumps(row, sort_keys=True, default=_hashable).encode())
    return digest.hexdigest()


def _hashable(value: Any) -> Any:
    """Stand for what JSON does not know by its content."""
    if isinstance(value, Image.Image) or hasattr(value, "__array__"):
        array = np.ascontiguousarray(value)
        return [str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else str(value)
