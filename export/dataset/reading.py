"""Rows of a built folder, shard by shard. Owns the opening of shards, and errors that name the row.

All commands read rows with this module, and so refuse the same rows in the same words. Only a few rows are in memory at
a time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import BuiltFolderError, RecordError, UnusableError
from datasetkit.core.paths import Place, arrow_input
from datasetkit.core.record import Record
from datasetkit.core.remote import RemotePath
from datasetkit.core.row_check import check_row
from datasetkit.core.schema import (
    SCHEMA_VERSION,
    check_schema_version,
    row_schema,
    row_to_record,
    stored_schema_version,
)
from datasetkit.export.dataset.manifest import Manifest, Shard

_BATCH_ROWS = 16
# Pages are read one by one; with pre_buffer on, pyarrow keeps every row group until the last row is read. In a store,
# where each page would be a request, that is worth its memory.
_BUFFER_BYTES = 2**20
_DAMAGE = (OSError, pa.ArrowException, UnicodeDecodeError)
_ALL = range(sys.maxsize)
Row = dict[str, Any]


def open_shard(path: Place) -> pq.ParquetFile:
    """Open the footer of a shard; close the file, or use it as a context manager.

    Raises:
        BuiltFolderError: there is no such file, it is not Parquet, or it has an unsupported schema version.

    """
    try:
        file = pq.ParquetFile(arrow_input(path), buffer_size=_BUFFER_BYTES, pre_buffer=isinstance(path, RemotePath))
    except FileNotFoundError:
        raise BuiltFolderError(f"shard {path.name} is missing from {path.parent}") from None
    except _DAMAGE as error:
        raise BuiltFolderError(f"{path} cannot be read as Parquet: {error}") from error
    try:
        check_schema_version(file.schema_arrow, path.name)
    except BuiltFolderError:
        file.close()
        raise
    return file


def other_columns(found: pa.Schema, wanted: pa.Schema) -> list[str]:
    """Describe missing columns of a shard, additional ones, and those of another type."""
    one, other = ({field.name: field.type for field in schema} for schema in (found, wanted))
    return [
        f"{name} is {one.get(name, 'missing')}, should be {other.get(name, 'left out')}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def iter_shard(path: Place, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a shard in order, with checked cells.

    ``columns`` are the columns to read, or paths of parts of them (``source.license``), as far as the schema version of
    the shard has them; None reads all.

    Raises:
        BuiltFolderError: the shard cannot be read, completely or from some row on, or a row has an invalid cell; names
            the shard, the row (from 0) and the column.

    """
    for where, row in _numbered(path, columns):
        with naming_row(where):
            check_row(row)
        yield row


def iter_rows(folder: Place, manifest: Manifest, columns: Sequence[str] | None = None) -> Iterator[tuple[Shard, Row]]:
    """Yield all rows of a built folder with their shards, in the order of the manifest.

    For ``columns`` and errors see :func:`iter_shard`.
    """
    for shard in manifest.shards:
        for row in iter_shard(folder / shard.path, columns):
            yield shard, row


def iter_records(path: Place, rows: range = _ALL) -> Iterator[tuple[str, Record]]:
    """Yield the records of a shard in order, each after the name of its row; overlays are not read.

    ``rows`` are consecutive row numbers, from 0; only row groups with one of them are read.

    Raises:
        BuiltFolderError: see :func:`iter_shard`; also for values that do not form a valid record.

    """
    with open_shard(path) as file:
        columns = [name for name in file.schema_arrow.names if name != "overlay"]
    for where, row in _numbered(path, columns, rows):
        with naming_row(where):
            record = row_to_record(row)
        yield where, record


def read_row_group(
    file: pq.ParquetFile, path: Place, group: int, columns: Sequence[str] | None = None, places: Sequence[int] = ()
) -> list[tuple[str, Row]]:
    """Read some rows of one row group, each after its name.

    Args:
        file: file from :func:`open_shard`.
        path: path of the file.
        group: number of the row group, from 0.
        columns: see :func:`iter_shard`.
        places: indices of the rows in the group; empty for all.

    Raises:
        BuiltFolderError: see :func:`iter_shard`.

    """
    _check_columns(file, path, columns)
    first = sum(file.metadata.row_group(index).num_rows for index in range(group))
    try:
        table = file.read_row_group(group, columns=columns)
        rows = (table.take(places) if places else table).to_pylist()
    except _DAMAGE as error:
        raise BuiltFolderError(f"{path} cannot be read in row group {group}: {error}") from error
    named = [(_row_name(path, first + place), row) for place, row in zip(places or range(len(rows)), rows, strict=True)]
    for where, row in named:
        with naming_row(where):
            check_row(row)
    return named


@contextmanager
def naming_row(where: str) -> Iterator[None]:
    """Add the name of the row to errors about its values.

    Raises:
        BuiltFolderError: the body raised that a value, an image or a mask is unusable.

    """
    try:
        yield
    except (RecordError, UnusableError) as error:
        raise BuiltFolderError(f"{where}: {error}; `datasetkit verify` lists all such rows") from error


def _row_name(path: Place, number: int) -> str:
    return f"{path} row {number}"


def _numbered(path: Place, columns: Sequence[str] | None, rows: range = _ALL) -> Iterator[tuple[str, Row]]:
    """Yield the unchecked rows of a shard, or some consecutive ones, each after its name."""
    with open_shard(path) as file:
        if columns is not None and stored_schema_version(file.schema_arrow) != SCHEMA_VERSION:
            leaves = _leaves(file)
            columns = [name for name in columns if _is_there(name, leaves)]
        _check_columns(file, path, columns)
        groups, number = _groups_with(file, rows)
        try:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns):
                skipped = min(max(rows.start - number, 0), batch.num_rows)
                number += skipped
                for row in _plain(batch.slice(skipped, rows.stop - number), path, number):
                    yield _row_name(path, number), row
                    number += 1
                if number == rows.stop:
                    return
        except _DAMAGE as error:
            raise BuiltFolderError(f"{path} ends after row {number}: {error}") from error


def _groups_with(file: pq.ParquetFile, rows: range) -> tuple[list[int], int]:
    """Return the row groups that contain some of these rows, and the number of the first row in them."""
    groups: list[int] = []
    first = end = 0
    for group in range(file.num_row_groups):
        start, end = end, end + file.metadata.row_group(group).num_rows
        if start < rows.stop and rows.start < end:
            first = first if groups else start
            groups.append(group)
    return groups, first


def _plain(batch: pa.RecordBatch, path: Place, first: int) -> Iterator[Row]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for place in range(batch.num_rows):
            try:
                batch.slice(place, 1).to_pylist()
            except UnicodeDecodeError as error:
                raise BuiltFolderError(f"{_row_name(path, first + place)} contains text that is not UTF-8") from error


def _check_columns(file: pq.ParquetFile, path: Place, columns: Sequence[str] | None) -> None:
    """Refuse a shard that lacks a column to read, or has it with another type."""
    schema = file.schema_arrow
    version = stored_schema_version(schema) or ""
    wanted = row_schema(overlay="overlay" in schema.names, version=version)
    read = wanted.names if columns is None else {name.split(".")[0] for name in columns}
    found = pa.schema([field for field in schema if field.name in read])
    if wrong := other_columns(found, pa.schema([field for field in wanted if field.name in read])):
        raise BuiltFolderError(f"{path} has other columns than schema version {version}: {', '.join(wrong)}")
    leaves = _leaves(file)
    for name in columns or ():
        if not _is_there(name, leaves):
            raise BuiltFolderError(f"{path} has no column {name}; it has {', '.join(leaves)}")


def _leaves(file: pq.ParquetFile) -> list[str]:
    return [file.schema.column(index).path for index in range(len(file.schema))]


def _is_there(name: str, leaves: Sequence[str]) -> bool:
    return any(leaf == name or leaf.startswith(f"{name}.") for leaf in leaves)
