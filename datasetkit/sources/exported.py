"""Metadata of ``datasetkit export --to imagefolder``: whole records with images in files. Owns how rows are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import UnusableError
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import Place
from datasetkit.core.schema import FIRST_VERSION, row_schema, stored_label_map
from datasetkit.core.text import is_split_name, one_line
from datasetkit.sources.in_order import InOrder
from datasetkit.sources.parquet_tables import Table, group_rows, ids_of_records, open_parquet, table_rows

FILE_COLUMN = "file_name"
_PATH_COLUMN = "image_path"  # since 0.4; before, it held the name of the file
_SCHEMA = pa.schema([field for field in row_schema(overlay=False) if field.name != "image"])
_COLUMNS = frozenset([FILE_COLUMN, *row_schema(overlay=False, version=FIRST_VERSION).names]) - {"image"}


def is_exported(columns: Mapping[str, Any]) -> bool:
    """Return whether a table's columns are those of exported records."""
    return columns.keys() >= _COLUMNS


class ExportedRows:
    """The rows of one ``metadata.parquet``.

    Args:
        path: of the file.
        name: of the file, relative to the source's folder.

    Attributes:
        label_map: the categories of the exported dataset.
        split: of the rows; None if the file is not in a folder of a split.

    Raises:
        SourceError: the file cannot be read as Parquet.

    """

    def __init__(self, path: Place, name: str) -> None:
        with open_parquet(path) as file:
            self.label_map: LabelMap = stored_label_map(file.schema_arrow)
            names = tuple(file.schema_arrow.names)
            self._table = Table(name, path, names, group_rows(file))
        folder = PurePosixPath(name).parent.name
        self.split = folder if is_split_name(folder) else None
        self._rows = InOrder(lambda number: table_rows(self._table, number))

    @staticmethod
    def are_in(path: Place) -> bool:
        """Return whether a file holds such rows."""
        with open_parquet(path) as file:
            return is_exported(dict.fromkeys(file.schema_arrow.names))

    def ids(self) -> Iterator[tuple[list[int], str | None, str | None]]:
        """Yield for each row the ids of its objects, the name of its file, and its record's id."""
        return ids_of_records(self._table.path, FILE_COLUMN, "record_id")

    def digest(self) -> str:
        """Return a hash of the file."""
        return hashlib.sha256(self._table.path.read_bytes()).hexdigest()

    def row(self, number: int, image: bytes) -> dict[str, Any]:
        """Read a row, counted from 0, in the form that a built dataset has.

        Args:
            number: number of the row.
            image: bytes of its image file.

        Raises:
            UnusableError: it cannot be read, or its values have other types, for example after an edit.

        """
        row: Mapping[str, Any] | UnusableError = self._rows.take(number)
        if isinstance(row, UnusableError):
            raise row
        path = row.get(_PATH_COLUMN) or PurePosixPath(row[FILE_COLUMN]).name
        try:
            typed: dict[str, Any] = pa.RecordBatch.from_pylist([dict(row)], schema=_SCHEMA).to_pylist()[0]
        except (ArithmeticError, TypeError, ValueError, pa.ArrowException) as error:
            detail = f"{self._table.name} row {number} is not a valid record: {one_line(error)}"
            raise UnusableError(DropReason.BAD_ROW, detail) from None
        return {**typed, "image": {"bytes": image, "path": path}}
