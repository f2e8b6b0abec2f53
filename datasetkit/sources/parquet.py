"""Parquet files with an image and a text per row. Owns their footers and the conversion of rows to records.

Rows of folders that datasetkit built are read back as the original records. Files are read forwards, a few rows at a
time, whatever the size of their row groups.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import PassedOver
from datasetkit.core.paths import Place
from datasetkit.core.protocols import Entry, Reading, SourceContext
from datasetkit.core.schema import check_schema_version, stored_schema_version
from datasetkit.core.text import one_line
from datasetkit.options import ParquetOptions
from datasetkit.sources.columns import TEXT_HINT, Columns, count_unused, find_columns
from datasetkit.sources.files import NO_CAPTION_COLUMN, label_map_of, list_shards, split_of_shard
from datasetkit.sources.in_order import InOrder
from datasetkit.sources.parquet_tables import (
    DAMAGE,
    Table,
    footer_sha256,
    group_rows,
    ids_of_records,
    open_parquet,
    table_rows,
)
from datasetkit.sources.rows import Row, RowReader, RowSource, ids_and_splits
from datasetkit.sources.unused import Unused

_ID_ROWS = 4096


@dataclass(frozen=True, slots=True)
class _Table(Table):
    """One file, with its columns, the number of its first row, and the split in its name."""

    columns: Columns
    first: int
    split: str | None


class ParquetSource(RowSource):
    """Rows of Parquet files. In a list of texts, the first one is used.

    Raises:
        SourceError: there is no file, a file is broken, or its columns cannot be found.
        BuiltFolderError: a file has another schema version.

    """

    def __init__(self, options: ParquetOptions, context: SourceContext = SourceContext()) -> None:
        self._tables: list[_Table] = []
        unused = Unused(", ".join(map(str, options.files)), options.ignore)
        self._digest = hashlib.sha256()
        rows = 0
        for name, path in list_shards(options.files, ".parquet", unused.counts):
            with open_parquet(path) as file:
                schema = file.schema_arrow
                if stored_schema_version(schema) is not None:
                    check_schema_version(schema, str(path))
                columns = find_columns(schema, str(path), options)
                groups = group_rows(file)
            count_unused(unused, schema, columns)
            self._tables.append(_Table(name, path, columns.names, groups, columns, rows, split_of_shard(name)))
            self._digest.update(json.dumps([name, path.stat().st_size, footer_sha256(path)]).encode())
            rows += sum(groups)
        has_texts = any(table.columns.text or table.columns.is_record for table in self._tables)
        unused.check(has_texts=has_texts or options.names_columns, no_texts=NO_CAPTION_COLUMN, hint=TEXT_HINT)
        self._unused = unused
        self._label_map = label_map_of(options.files) if any(table.columns.is_record for table in self._tables) else ()
        self._length = rows
        self._rows = InOrder(self._rows_from)
        self._reader = RowReader(context)

    def fingerprint(self) -> str:
        """Return a hex digest of the files' names, sizes and footers."""
        return self._digest.hexdigest()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._length

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield the columns, and the files next to the tables, that are not read."""
        return iter(self._unused.counts)

    def label_map(self) -> LabelMap:
        """Return the label map of the built folder whose rows are read."""
        return self._label_map

    def _rows_known(self) -> Iterator[Row]:
        """Yield the rows, file by file, reading only the columns of ids and splits."""
        for table in self._tables:
            for row, (record_id, objects, split) in enumerate(_ids(table)):
                yield Row(table.first + row, record_id, f"{table.name}/{row}", objects, split or table.split)

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Return the path of a row's file."""
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
        """Yield the rows from a number on; a row that cannot be read is replaced by an error."""
        for table in self._tables[self._tables.index(self._table_of(number)) :]:
            yield from table_rows(table, max(number - table.first, 0))


def _ids(table: _Table) -> Iterator[tuple[object, Sequence[int], str | None]]:
    """Yield each row's id (None without one), the ids of its objects, and the split that it names."""
    names = [name for name in (table.columns.id, table.columns.split) if name is not None]
    if not table.columns.is_record and not names:
        yield from ((None, (), None) for _ in range(table.rows))
        return
    if table.columns.is_record:
        yield from ((record_id, objects, None) for objects, record_id in ids_of_records(table.path, "record_id"))
        return
    try:
        with open_parquet(table.path) as file:
            for batch in file.iter_batches(_ID_ROWS, columns=names):
                yield from ids_and_splits(batch, table.columns)
    except DAMAGE as error:
        raise SourceError(f"{table.path} cannot be read to its end: {one_line(error)}") from error
