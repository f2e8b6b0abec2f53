"""Parquet files with a picture and a text a row. Owns their footers and the way of a row to its record.

Rows of our own built folders come back as the records they were. Files are read forwards, a few rows at a time,
whatever the size of their row groups.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason, PassedOver
from datasetkit.core.paths import Place, arrow_input
from datasetkit.core.protocols import Entry, Reading, SourceContext
from datasetkit.core.schema import check_schema_version, stored_schema_version
from datasetkit.core.text import one_line
from datasetkit.options import ParquetOptions
from datasetkit.sources.columns import TEXT_HINT, Columns, count_unused, find_columns
from datasetkit.sources.files import NO_CAPTION_COLUMN, list_shards, split_of_shard, unreadable
from datasetkit.sources.in_order import InOrder
from datasetkit.sources.rows import Row, RowReader, RowSource, ids_and_splits, object_ids
from datasetkit.sources.unused import Unused

_BATCH_ROWS = 16
_ID_ROWS = 4096
_BUFFER_BYTES = 2**20
_TAIL_BYTES = 8
_DAMAGE = (OSError, pa.ArrowException, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class _Table:
    """One file: its name below the source's folder, the number of its first row, and the rows of its row groups."""

    name: str
    path: Place
    columns: Columns
    first: int
    group_rows: tuple[int, ...]
    split: str | None

    @property
    def rows(self) -> int:
        return sum(self.group_rows)


class ParquetSource(RowSource):
    """Rows of Parquet files. Of a list of texts the first counts.

    Raises:
        SourceError: there is no file, one is broken, or its columns are not to be found.
        BuiltFolderError: a file has another schema version.

    """

    def __init__(self, options: ParquetOptions, context: SourceContext = SourceContext()) -> None:
        self._tables: list[_Table] = []
        unused = Unused(", ".join(map(str, options.files)), options.ignore)
        self._digest = hashlib.sha256()
        rows = 0
        for name, path in list_shards(options.files, ".parquet", unused.counts):
            with _open(path) as file:
                schema = file.schema_arrow
                if stored_schema_version(schema) is not None:
                    check_schema_version(schema, str(path))
                columns = find_columns(schema, str(path), options)
                groups = tuple(file.metadata.row_group(index).num_rows for index in range(file.num_row_groups))
            count_unused(unused, schema, columns)
            self._tables.append(_Table(name, path, columns, rows, groups, split_of_shard(name)))
            self._digest.update(json.dumps([name, path.stat().st_size, _footer_sha256(path)]).encode())
            rows += sum(groups)
        has_texts = any(table.columns.text or table.columns.is_record for table in self._tables)
        unused.check(has_texts=has_texts or options.names_columns, no_texts=NO_CAPTION_COLUMN, hint=TEXT_HINT)
        self._unused = unused
        self._length = rows
        self._rows = InOrder(self._rows_from)
        self._reader = RowReader(context)

    def fingerprint(self) -> str:
        """Hex digest over the files' names, sizes and footers."""
        return self._digest.hexdigest()

    def __len__(self) -> int:
        """How many rows there are."""
        return self._length

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield the columns, and the files between the tables, that are not read."""
        return iter(self._unused.counts)

    def _rows_known(self) -> Iterator[Row]:
        """Go through the rows, file by file; of the columns only ids and splits are read."""
        for table in self._tables:
            for row, (record_id, objects, split) in enumerate(_ids(table)):
                yield Row(table.first + row, record_id, f"{table.name}/{row}", objects, split or table.split)

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Name the file of a row."""
        table = None if entry.handle is None else self._table_of(entry.handle)
        return {} if table is None else {table.name: table.path}

    def _read(self, entry: Entry, number: int) -> Reading:
        table = self._table_of(number)
        row: Mapping[str, Any] | UnusableError = self._rows.take(number)
        if isinstance(row, UnusableError):
            raise row
        return self._reader.read(entry, row, table.columns, f"{table.name}/{number - table.first}")

    def _table_of(self, number: int) -> _Table:
        return self._tables[bisect_right(self._tables, number, key=lambda table: table.first) - 1]

    def _rows_from(self, number: int) -> Iterator[Mapping[str, Any] | UnusableError]:
        """Give the rows from one on: what cannot be read stands in its row's place as an error."""
        for table in self._tables[self._tables.index(self._table_of(number)) :]:
            yield from _table_rows(table, max(number - table.first, 0))


def _open(path: Place) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(arrow_input(path), buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except _DAMAGE as error:
        raise SourceError(f"{path} cannot be read as Parquet: {one_line(error)}") from error


def _footer_sha256(path: Place) -> str:
    with path.open("rb") as file:
        file.seek(-_TAIL_BYTES, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-_TAIL_BYTES - length, 2)
        return hashlib.sha256(file.read()).hexdigest()


def _ids(table: _Table) -> Iterator[tuple[object, Sequence[int], str | None]]:
    """Yield each row's id, None where it has none, the ids of its objects, and the split that it names."""
    names = [name for name in (table.columns.id, table.columns.split) if name is not None]
    if not table.columns.is_record and not names:
        yield from ((None, (), None) for _ in range(table.rows))
        return
    try:
        with _open(table.path) as file:
            if table.columns.is_record:
                leaves = [leaf.path for leaf in map(file.schema.column, range(len(file.schema)))]
                object_id = next(leaf for leaf in leaves if leaf.split(".")[0::3] == ["objects", "id"])
                for batch in file.iter_batches(_ID_ROWS, columns=["record_id", object_id]):
                    for record_id, objects in zip(
                        batch["record_id"].to_pylist(), object_ids(batch["objects"]), strict=True
                    ):
                        yield record_id, objects, None
            else:
                for batch in file.iter_batches(_ID_ROWS, columns=names):
                    yield from ids_and_splits(batch, table.columns)
    except _DAMAGE as error:
        raise SourceError(f"{table.path} breaks off: {one_line(error)}") from error


def _table_rows(table: _Table, start: int) -> Iterator[Mapping[str, Any] | UnusableError]:
    try:
        file = _open(table.path)
    except SourceError as error:  # it could be opened when the build began
        yield from (unreadable(error.__cause__, str(error)) for _ in range(start, table.rows))
        return
    with file:
        before = 0
        for group, rows in enumerate(table.group_rows):
            if before + rows > start:
                yield from _group_rows(file, table, group, max(start - before, 0))
            before += rows


def _group_rows(
    file: pq.ParquetFile, table: _Table, group: int, start: int
) -> Iterator[Mapping[str, Any] | UnusableError]:
    done = 0
    damage, cause = "it holds fewer rows than its footer says", None
    try:
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=table.columns.names):
            if done + batch.num_rows > start:
                yield from _batch_rows(batch.slice(max(start - done, 0)), table.name)
            done += batch.num_rows
    except _DAMAGE as error:
        damage, cause = one_line(error), error
    for _ in range(max(done, start), table.group_rows[group]):
        yield unreadable(cause, f"{table.name}: row group {group} breaks off: {damage}")


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
