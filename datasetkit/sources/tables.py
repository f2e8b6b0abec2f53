"""Tables as text or Parquet, row by row, as people write them. Owns what is harmless in them, and what ends a build.

A faulty row or a broken line is a fault of that row; where rows can no longer be told apart (an unclosed quote, broken
JSON of a whole file, another encoding, damaged Parquet), it is an error of the file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple

from datasetkit.core.errors import SourceError
from datasetkit.core.paths import Place, arrow_input, unread
from datasetkit.core.text import one_line
from datasetkit.sources.texts import not_in_encoding, open_utf8

_LONGEST_LINE = 2**26
_DELIMITERS = ",\t;"
_ENDLESS = ("unexpected end", "field larger")


class TableRow(NamedTuple):
    """A row: its number, from 1, as an editor counts lines, its cells by column, and why it cannot be read.

    ``text`` is that of a row whose cells cannot be separated.
    """

    number: int
    cells: Mapping[str, Any]
    fault: str | None = None
    text: str = ""


def table_kind(name: str) -> str | None:
    """Return the suffix that decides how a table is read; None if it is not a table."""
    lower = name.lower()
    suffix = PurePosixPath(lower.removesuffix(".gz")).suffix
    return suffix if suffix in _READERS or lower.endswith(".parquet") else None


def table_rows(path: Place, encoding: str | None) -> Iterator[TableRow]:
    """Read a table.

    Args:
        path: a JSONL, CSV, TSV, JSON or Parquet file; text may be compressed with gzip.
        encoding: of the text; see :func:`~datasetkit.sources.texts.open_utf8`.

    Raises:
        SourceError: the file is broken, or in another encoding.

    """
    kind = table_kind(path.name)
    try:
        if kind == ".parquet":
            yield from _parquet_rows(path)
        else:
            with open_utf8(path, encoding) as file:
                yield from _READERS[str(kind)](file, path)
    except OSError as error:
        raise SourceError(unread(path, error)) from error


def _jsonl_rows(file: IO[bytes], path: Place) -> Iterator[TableRow]:
    number = start = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise SourceError(f"{path} line {number} has more than {_LONGEST_LINE:,} bytes; write one object per line")
        if line.strip():
            try:
                row = _loads(line, f"{path} line {number}")
            except _BrokenJsonError as error:
                yield TableRow(number, {}, f"{error.fault} (byte {start + error.at})", line.decode("utf-8"))
            else:
                yield _json_row(number, row, "write one object per line")
        start += len(line)


def _json_rows(file: IO[bytes], path: Place) -> Iterator[TableRow]:
    rows = _loads(file.read(), str(path))
    if not isinstance(rows, list):
        raise SourceError(f"{path} is a JSON {type(rows).__name__}; a table is a list of objects, one per image")
    for number, row in enumerate(rows, start=1):
        yield _json_row(number, row, "write a list of objects")


class _BrokenJsonError(SourceError):
    """Text that is not JSON, with the fault and its byte, from 0."""

    def __init__(self, where: str, fault: str, at: int) -> None:
        super().__init__(f"{where} {fault} (byte {at})")
        self.fault, self.at = fault, at


class _Twice(dict[str, Any]):
    """A JSON object that has a key twice."""


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Twice(found)


def _json_row(number: int, row: object, wanted: str) -> TableRow:
    if not isinstance(row, dict):
        return TableRow(number, {}, f"is a {type(row).__name__}; {wanted}")
    return TableRow(number, row, "has a key twice" if isinstance(row, _Twice) else None)


def _loads(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_no_twins)
    except UnicodeDecodeError as error:
        raise SourceError(not_in_encoding(where, "utf-8", error)) from None
    except json.JSONDecodeError as error:
        raise _BrokenJsonError(
            where, f"is broken JSON: {error.msg.removesuffix(' at')}", len(error.doc[: error.pos].encode())
        ) from None
    except (RecursionError, ValueError) as error:  # endless brackets or digits
        raise _BrokenJsonError(where, f"exceeds the limits of JSON readers: {error}", 0) from None


def _csv_rows(file: IO[bytes], path: Place) -> Iterator[TableRow]:
    csv.field_size_limit(2**24)
    since: list[str] = []  # the lines since the last whole row
    try:
        with io.TextIOWrapper(file, encoding="utf-8", newline="") as lines:
            first = lines.readline(_LONGEST_LINE)
            lines.seek(0)
            # Excel separates cells by tabs or, in locales where numbers have a decimal comma, by semicolons.
            separator = max(_DELIMITERS, key=lambda sign: (first.count(sign), sign == ","))
            # An unclosed quote, or one that ends within a cell, is an error.
            reader = csv.reader(_noted(lines, since), delimiter=separator, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if twins := [name for name in header if name and header.count(name) > 1]:
                raise SourceError(f"{path} has two columns named {twins[0]}; rename one")
            yield from _cells(reader, header, since)
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not CSV in UTF-8: {not_in_encoding('it', 'utf-8', error)}") from None
    except csv.Error as error:
        raise SourceError(f"{path} is not CSV in UTF-8: {error} after {one_line(since[0])[:60]!r}") from None


def _noted(lines: Iterable[str], since: list[str]) -> Iterator[str]:
    """Yield lines, and record them in a list."""
    for line in lines:
        since.append(line)
        yield line


def _cells(reader: Any, header: list[str], since: list[str]) -> Iterator[TableRow]:
    """Read rows; each line of a row with a stray quote is a fault, since it may have been a row.

    Raises:
        csv.Error: a quote ends nowhere, so that no more rows can be told apart.

    """
    while True:
        since.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error).startswith(_ENDLESS):
                raise
            first = reader.line_num - len(since) + 1
            for number, line in enumerate(since, first):
                yield TableRow(number, {}, f"is not CSV: {error}; double the quotes in a quoted cell", line)
            continue
        if not cells:
            continue
        more = [cell for cell in cells[len(header) :] if cell.strip()]
        fault = f"has {len(cells)} cells for {len(header)} columns; quote texts that contain the separator"
        padded = [*cells, *[None] * (len(header) - len(cells))]
        row = {name: cell for name, cell in zip(header, padded, strict=False) if name}
        yield TableRow(reader.line_num, row, fault if more else None)


def _parquet_rows(path: Place) -> Iterator[TableRow]:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        with pq.ParquetFile(arrow_input(path)) as file:
            names = file.schema_arrow.names
            if twins := [name for name in names if names.count(name) > 1]:
                raise SourceError(f"{path} has two columns named {twins[0]}; rename one")
            rows: Iterable[dict[str, Any]] = (row for batch in file.iter_batches() for row in batch.to_pylist())
            yield from (TableRow(number, row) for number, row in enumerate(rows, start=1))
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {one_line(error)}") from None


_READERS = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".tsv": _csv_rows, ".json": _json_rows}
