"""Rows of tables as records. Owns how a picture with a text becomes a record, and how a built record comes back.

Owns, too, how rows are announced by their numbers.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import load_image
from datasetkit.core.ledger import DropReason, Notice
from datasetkit.core.protocols import Entry, Reading, Source, SourceContext
from datasetkit.core.record import Provenance, Record
from datasetkit.core.schema import row_to_record
from datasetkit.sources.columns import UNKNOWN_LICENSE, Columns
from datasetkit.sources.files import as_text

_MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".webp"))


class Row(NamedTuple):
    """A row before it is read: its number, and the id that it has; ``fallback`` is what it is called without one."""

    number: int
    record_id: object
    fallback: str
    object_ids: Sequence[int] = ()
    split: str | None = None


class RowSource(Source):
    """A source of numbered rows."""

    @abstractmethod
    def _rows_known(self) -> Iterator[Row]:
        """Yield the rows in order."""

    @abstractmethod
    def _read(self, entry: Entry, number: int) -> Reading:
        """Read one row."""

    def entries(self) -> Iterator[Entry]:
        """Announce every row; the handle is its number, or None where an earlier row has the same id."""
        seen: set[str] = set()
        for row in self._rows_known():
            name = row.fallback if row.record_id is None or row.record_id == "" else as_text(str(row.record_id))
            objects = tuple(f"{name}/{object_id}" for object_id in row.object_ids)
            yield Entry(name, objects, row.split, None if name in seen else row.number)
            seen.add(name)

    def read(self, entry: Entry) -> Reading:
        """Read one row and make its record.

        Raises:
            UnusableError: the row makes no record, or has the id of an earlier one.
            SourceError: the rows can no longer be reached.

        """
        if entry.handle is None:
            raise UnusableError(DropReason.DUPLICATE_ID, f"id {entry.record_id} was listed before")
        return self._read(entry, entry.handle)


@dataclass(frozen=True, slots=True)
class RowReader:
    """Makes records of rows."""

    context: SourceContext

    def read(self, entry: Entry, row: Mapping[str, Any], columns: Columns, uri: str) -> Reading:
        """Make a record of a row as Arrow gives it, pictures encoded; one of a built dataset keeps its own ``uri``.

        Raises:
            UnusableError: the picture or what stands beside it cannot be used.

        """
        if columns.is_record:
            return self._whole(entry, row)
        description = first_text(row[columns.text]) if columns.text else None
        license_name = first_text(row[columns.license]) if columns.license else None
        data, name = picture_of(row[columns.image], entry.record_id)
        return self.reading(entry, data, name, description, license_name, uri)

    def reading(
        self, entry: Entry, data: bytes, name: str, description: str | None, license_name: str | None, uri: str
    ) -> Reading:
        """Make a record of a picture and what is known of it; see :meth:`read`."""
        loaded = load_image(data, name, self.context.limits)
        source = Provenance(
            uri, license_name or self.context.license or UNKNOWN_LICENSE, hashlib.sha256(data).hexdigest()
        )
        record = Record(entry.record_id, entry.record_id, loaded.encoded, description, source)
        return Reading(record, loaded.pixels, (), tuple(Notice(entry.record_id, kind) for kind in loaded.notices))

    def _whole(self, entry: Entry, row: Mapping[str, Any]) -> Reading:
        data, name = picture_of(row["image"], entry.record_id)
        loaded = load_image(data, name, self.context.limits)
        try:
            record = replace(row_to_record(row), image=loaded.encoded)
        except UnusableError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UnusableError(DropReason.BAD_ROW, f"{entry.record_id} is no valid record: {error}") from error
        notices = tuple(Notice(entry.record_id, kind) for kind in loaded.notices)
        return Reading(record, loaded.pixels, (), notices, is_annotated=True)


def picture_of(value: object, record_id: str) -> tuple[bytes, str]:
    """Give a cell's encoded picture and its file name; a picture without a name is called after its record.

    Raises:
        UnusableError: the cell holds no bytes; ``name_only`` where it names a file.

    """
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (value, None)
    if not isinstance(data, bytes):
        if isinstance(path, str):
            raise UnusableError(DropReason.NAME_ONLY, f"{record_id} holds only the name {as_text(path)!r}")
        raise UnusableError(DropReason.MISSING, f"{record_id} holds no picture")
    suffix = next((ending for magic, ending in _MAGIC if data.startswith(magic)), "")
    return data, path if isinstance(path, str) and path else record_id.replace("/", "-") + suffix


def first_text(value: object) -> str | None:
    """Give a cell's text, or the first of several; None where no word is there."""
    texts = value if isinstance(value, list) else [value]
    words = (as_text(text.strip()) for text in texts if isinstance(text, str))
    return next((text for text in words if text), None)


def object_ids(objects: pa.ListArray) -> list[list[int]]:
    """Give the ids of each row's objects, of a column of a built dataset, without the rest of them."""
    return pa.ListArray.from_arrays(objects.offsets, objects.values.field("id")).to_pylist()
