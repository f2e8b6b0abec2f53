"""A folder of pictures, with or without metadata. Owns the imagefolder convention.

Metadata files (``metadata.jsonl``, ``.csv`` or ``.parquet``) may stand in any folder; their ``file_name`` column is
relative to where they stand. Pictures that no metadata names have no description.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import Place, arrow_input, files_below, leads_out, path_inside
from datasetkit.core.protocols import Entry, Reading, Source, SourceContext
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import one_line
from datasetkit.options import FolderOptions
from datasetkit.sources.columns import no_texts
from datasetkit.sources.files import CAPTION_COLUMNS, PICTURE_SUFFIXES, as_text, read_picture, split_of_folder
from datasetkit.sources.rows import RowReader

_METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_NO_TEXTS = ("file_name", "license")


@dataclass(frozen=True, slots=True)
class _Handle:
    """One picture: its name below the folder, what the metadata says of it, and whether it was listed before."""

    name: str
    description: str | None
    license: str | None
    duplicate: bool


class FolderSource(Source):
    """Pictures below a folder, recursively, with the descriptions of its metadata files.

    Raises:
        SourceError: the folder is missing, holds no picture or a built dataset, or a metadata file is broken.

    """

    def __init__(self, options: FolderOptions, context: SourceContext = SourceContext()) -> None:
        folder = options.folder
        if not folder.is_dir():
            raise SourceError(f"{folder} is no folder; give the folder of the pictures")
        if (folder / "manifest.json").is_file() and (folder / "ledger.jsonl").is_file():
            raise SourceError(f"{folder} is a built dataset; `datasetkit build parquet {folder}` reads its records")
        self._folder = folder if isinstance(folder, RemotePath) else folder.resolve()
        self._limits = context.limits
        self._reader = RowReader(context)
        pictures = []
        metadata = []
        for name, path in files_below(self._folder):
            relative = PurePosixPath(name)
            if relative.name in _METADATA_NAMES:
                metadata.append((relative.parent, path))
            elif relative.suffix.lower() in PICTURE_SUFFIXES:
                pictures.append(name)
        self._metadata = {(prefix / path.name).as_posix(): path for prefix, path in metadata}
        self._handles = list(_handles(pictures, metadata, options.caption_column))
        if not self._handles:
            raise SourceError(f"{folder} holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))}) and no metadata file")

    def fingerprint(self) -> str:
        """Hex digest over every name with its metadata."""
        digest = hashlib.sha256()
        for handle in self._handles:
            digest.update(json.dumps([handle.name, handle.description, handle.license]).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._handles)

    def entries(self) -> Iterator[Entry]:
        """Announce the pictures: those of the metadata files in their order, then all others by name."""
        for handle in self._handles:
            yield Entry(as_text(handle.name), (), split_of_folder(handle.name), handle)

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Name the picture's file."""
        name = entry.handle.name
        return {} if leads_out(name) else {name: self._folder / name}

    def index_files(self) -> Mapping[str, Place]:
        """Name the metadata files."""
        return self._metadata

    def read(self, entry: Entry) -> Reading:
        """Open one picture.

        Raises:
            UnusableError: the picture cannot be used.

        """
        handle: _Handle = entry.handle
        if handle.duplicate:
            raise UnusableError(DropReason.DUPLICATE_ID, f"{handle.name} was listed before")
        data = read_picture(path_inside(self._folder, handle.name), self._limits, self._folder)
        name = PurePosixPath(handle.name).name
        return self._reader.reading(entry, data, name, handle.description, handle.license, entry.record_id)


def _handles(
    pictures: list[str], metadata: list[tuple[PurePosixPath, Place]], caption_column: str | None
) -> Iterator[_Handle]:
    seen: set[str] = set()
    has_texts = caption_column is not None
    others: dict[str, None] = {}
    for prefix, path in metadata:
        for row in _rows(path):
            name = _joined(prefix, row, path)
            has_texts = has_texts or any(column in row for column in CAPTION_COLUMNS)
            others.update((key, None) for key, value in row.items() if isinstance(value, str) and key not in _NO_TEXTS)
            yield _Handle(name, _description(row, caption_column, path), _text(row.get("license")), name in seen)
            seen.add(name)
    if others and not has_texts:
        raise SourceError(no_texts(", ".join(str(path) for _, path in metadata), others, "caption-column"))
    for name in pictures:
        if name not in seen:
            yield _Handle(name, None, None, duplicate=False)


def _joined(prefix: PurePosixPath, row: Mapping[str, Any], path: Place) -> str:
    name = row.get("file_name")
    if "file_name" not in row:
        commas = "; CSV parts columns by commas" if len(row) == 1 and path.name.endswith(".csv") else ""
        raise SourceError(f"{path} has a row without file_name; it has {', '.join(map(str, row)) or 'nothing'}{commas}")
    if not isinstance(name, str) or not name.strip():
        raise SourceError(f"{path} has a row without file_name; every row must name its picture")
    return name if PurePosixPath(name).is_absolute() else (prefix / name).as_posix()


def _description(row: Mapping[str, Any], caption_column: str | None, path: Place) -> str | None:
    column = caption_column or next((name for name in CAPTION_COLUMNS if name in row), None)
    if column is None:
        return None
    if column not in row:
        raise SourceError(f"{path} has no column {column!r}; it has {', '.join(map(str, row))}")
    value = row[column]
    if value is not None and not isinstance(value, str):
        raise SourceError(f"{path}: column {column!r} holds a {type(value).__name__}; the description must be text")
    return _text(value)


def _text(value: object) -> str | None:
    return as_text(value.strip()) or None if isinstance(value, str) else None


def _rows(path: Place) -> Iterator[Mapping[str, Any]]:
    rows = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}[PurePosixPath(path.name).suffix]
    try:
        yield from rows(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def _jsonl_rows(path: Place) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    row = json.loads(line.decode("utf-8"))
                except UnicodeDecodeError:
                    raise SourceError(f"{path} line {number} is not UTF-8 text") from None
                except json.JSONDecodeError as error:
                    message = f"{path} line {number} is broken JSON: {error.msg} (column {error.colno})"
                    raise SourceError(message) from None
                except (RecursionError, ValueError) as error:  # brackets or digits without end
                    raise SourceError(f"{path} line {number} is beyond what JSON readers take: {error}") from None
                if not isinstance(row, dict):
                    raise SourceError(f"{path} line {number} is a {type(row).__name__}; give one object a line")
                yield row


def _csv_rows(path: Place) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(2**24)
    try:
        with path.open("rb") as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:
            yield from csv.DictReader(lines)
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is not CSV in UTF-8: {error}") from None


def _parquet_rows(path: Place) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        with pq.ParquetFile(arrow_input(path)) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {one_line(error)}") from None
