"""Parquet files as tables of rows. Owns how rows are read forwards, and what happens to rows that cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import Place, arrow_input
from datasetkit.core.text import one_line
from datasetkit.sources.files import unreadable
from datasetkit.sources.rows import object_ids

_BATCH_ROWS = 16
_ID_ROWS = 4096
_BUFFER_BYTES = 2**20
_TAIL_BYTES = 8
DAMAGE = (OSError, pa.ArrowException, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Table:
    """One file.

    Args:
        name: relative to the source's folder.
        path: of the file.
        names: of the columns that are read.
        group_rows: number of rows of each row group.

    """

    name: str
    path: Place
    names: tuple[str, ...]
    group_rows: tuple[int, ...]

    @property
    def rows(self) -> int:
        """The number of its rows."""
        return sum(self.group_rows)


def open_parquet(path: Place) -> pq.ParquetFile:
    """Open a file.

    Raises:
        SourceError: it cannot be read as Parquet.

    """
    try:
        return pq.ParquetFile(arrow_input(path), buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except DAMAGE as error:
        raise SourceError(f"{path} cannot be read as Parquet: {one_line(error)}") from error


def group_rows(file: pq.ParquetFile) -> tuple[int, ...]:
    """Return the number of rows in each row group."""
    return tuple(file.metadata.row_group(index).num_rows for index in range(file.num_row_groups))


def ids_of_records(path: Place, *names: str) -> Iterator[tuple[list[int], *tuple[Any, ...]]]:
    """Yield for each row of built records the ids of its objects, and its values in some columns.

    Raises:
        SourceError: the file cannot be read to its end.

    """
    try:
        with open_parquet(path) as file:
            leaves = [leaf.path for leaf in map(file.schema.column, range(len(file.schema)))]
            object_id = next(leaf for leaf in leaves if leaf.split(".")[0::3] == ["objects", "id"])
            for batch in file.iter_batches(_ID_ROWS, columns=[*names, object_id]):
                values = (batch[name].to_pylist() for name in names)
                yield from zip(object_ids(batch["objects"]), *values, strict=True)
    except DAMAGE as error:
        raise SourceError(f"{path} cannot be read to its end: {one_line(error)}") from error


def footer_sha256(path: Place) -> str:
    """Return a hash of a file's footer."""
    with path.open("rb") as file:
        file.seek(-_TAIL_BYTES, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-_TAIL_BYTES - length, 2)
        return hashlib.sha256(file.read()).hexdigest()


def table_rows(table: Table, start: int) -> Iterator[Mapping[str, Any] | UnusableError]:
    """Yield the rows from a number on; a row that cannot be read is replaced by an error."""
    try:
        file = open_parquet(table.path)
    except SourceError as error:  # it could still be opened when the build began
        yield from (unreadable(error.__cause__, str(error)) for _ in range(start, table.rows))
        return
    with file:
        before = 0
        for group, rows in enumerate(table.group_rows):
            if before + rows > start:
                yield from _group_rows(file, table, group, max(start - before, 0))
            before += rows


def _group_rows(
    file: pq.ParquetFile, table: Table, group: int, start: int
) -> Iterator[Mapping[str, Any] | UnusableError]:
    done = 0
    damage, cause = "it has fewer rows than its footer says", None
    try:
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=table.names):
            if done + batch.num_rows > start:
                yield from _batch_rows(batch.slice(max(start - done, 0)), table.name)
            done += batch.num_rows
    except DAMAGE as error:
        damage, cause = one_line(error), error
    for _ in range(max(done, start), table.group_rows[group]):
        yield unreadable(cause, f"{table.name}: row group {group} cannot be read to its end: {damage}")


def _batch_rows(batch: pa.RecordBatch, name: str) -> Iterator[Mapping[str, Any] | UnusableError]:
    try:
        rows: list[Mapping[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            yield UnusableError(DropReason.BAD_ROW, f"{name}: a text is not UTF-8: {error}")
            return
        for index in range(batch.num_rows):
            yield from _batch_rows(batch.slice(index, 1), name)
    else:
        yield from rows
