"""Read tables and arrays of results. Owns the one way to read them, and the error that names file and column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.text import listed, one_line

Column = Literal["text", "text or null", "texts or null", "whole", "whole or null", "number", "flag", "flag or null"]
Columns = Mapping[str, Column]


def read_table(path: Path, columns: Columns, what: str, again: str) -> tuple[pa.Table, dict[str, str]]:
    """Read a table, and check its columns.

    Args:
        path: path of a Parquet file.
        columns: the columns that it must have. A number may be null, which means "not measured"; others only if their
            kind allows it.
        what: the results that it belongs to, such as "knockouts", for messages.
        again: what to do about a damaged file, for messages.

    Returns:
        the table with all of its columns, and the texts of its metadata, which are removed from it: pandas would trust
        the types noted there.

    Raises:
        BuiltFolderError: it cannot be read, or a column is missing or of another type; the message names file and
            column.

    """
    try:
        table = pq.read_table(path, partitioning=None)
        table.validate(full=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, what, error, again) from error
    names = table.column_names
    for name, kind in columns.items():
        if name not in names:
            raise BuiltFolderError(f"{path} is damaged: column {name} is missing; it has {listed(names)}; {again}")
        if (mistake := _mistake(table.column(name), kind)) is not None:
            raise BuiltFolderError(f"{path} is damaged: column {name} {mistake}; {again}")
    texts = {
        key.decode("utf-8", "replace"): text.decode("utf-8", "replace")
        for key, text in (table.schema.metadata or {}).items()
    }
    return table.replace_schema_metadata(None), texts


def read_frame(
    path: Path, columns: Columns, what: str, again: str, *, keys: Sequence[str] = (), grid: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a table as a frame; see :func:`read_table`.

    Args:
        path: path of a Parquet file.
        columns: the columns that it must have.
        what: the results that it belongs to.
        again: what to do about a damaged file.
        keys: columns whose values together must be unique.
        grid: keys of which every combination must exist.

    """
    table, _ = read_table(path, columns, what, again)
    frame: pd.DataFrame = table.to_pandas()
    if keys and frame.duplicated(list(keys)).any():
        raise BuiltFolderError(f"{path} is damaged: two rows have the same {listed(keys)}; {again}")
    if grid:
        combinations = frame[list(grid)].drop_duplicates()
        if combinations.empty or len(combinations) != np.prod([combinations[name].nunique() for name in grid]):
            raise BuiltFolderError(f"{path} is damaged: rows of some {listed(grid)} are missing; {again}")
    return frame


def read_arrays(path: Path, what: str, again: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read arrays of numbers by name, and the metadata of their file.

    Raises:
        BuiltFolderError: it cannot be read, or an array has a type that numpy does not support.

    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            metadata = dict(file.metadata() or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise _unreadable(path, what, error, again) from error
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise BuiltFolderError(f"{path} is damaged: {name} holds {array.dtype}, not numbers; {again}")
    return arrays, metadata


def _unreadable(path: Path, what: str, error: Exception, again: str) -> BuiltFolderError:
    if not path.exists():
        return BuiltFolderError(f"{path.parent} holds no finished {what}: {path.name} is missing; {again}")
    told = getattr(error, "strerror", None) or one_line(error)
    return BuiltFolderError(f"{path} cannot be read: {told}; {again}")


def _mistake(column: pa.ChunkedArray, kind: Column) -> str | None:
    """Return what is wrong with a column; None if it is valid."""
    bare, _, null = kind.partition(" or ")
    if pa.types.is_null(column.type) and (null or bare == "number"):
        return None
    if not _TYPES[bare](column.type):
        return f"holds {column.type}, not {_NAMES[bare]}"
    if column.null_count and not null and bare != "number":
        return "has cells without a value"
    return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


_TYPES: Mapping[str, Callable[[pa.DataType], bool]] = {
    "text": _is_text,
    "texts": lambda kind: bool(pa.types.is_list(kind) and _is_text(kind.value_type)),
    "whole": pa.types.is_integer,
    "number": pa.types.is_floating,
    "flag": pa.types.is_boolean,
}
_NAMES = {
    "text": "texts",
    "texts": "lists of texts",
    "whole": "whole numbers",
    "number": "numbers",
    "flag": "yes or no",
}
