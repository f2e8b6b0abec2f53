"""Rows of tables as records. Owns how a picture with a text becomes a record, and how a built record comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import load_image
from datasetkit.core.ledger import DropReason, Notice
from datasetkit.core.protocols import Entry, Reading, SourceContext
from datasetkit.core.record import Provenance, Record
from datasetkit.core.schema import row_to_record
from datasetkit.sources.columns import UNKNOWN_LICENSE, Columns
from datasetkit.sources.files import as_text

_MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".webp"))


@dataclass(frozen=True, slots=True)
class RowReader:
    """Makes records of rows.

    Args:
        context: of the source.

    """

    context: SourceContext

    def read(self, entry: Entry, row: Mapping[str, Any], columns: Columns, uri: str) -> Reading:
        """Make one record.

        Args:
            entry: what the source announced.
            row: as Arrow gives it, pictures encoded.
            columns: of the row.
            uri: where the picture came from; a record of a built dataset keeps its own.

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


def announce(number: int, record_id: object, fallback: str, objects: Iterable[int], seen: set[str]) -> Entry:
    """Announce a row; the handle is its number, or None where an earlier row has the same id.

    Args:
        number: of the row.
        record_id: as the row has it.
        fallback: what it is called where the row does not say.
        objects: ids of the objects that come with it.
        seen: ids announced so far; this one is added.

    """
    name = fallback if record_id is None or record_id == "" else as_text(str(record_id))
    handle = None if name in seen else number
    seen.add(name)
    return Entry(name, tuple(f"{name}/{object_id}" for object_id in objects), None, handle)


def number_of(entry: Entry) -> int:
    """Give the row's number that :func:`announce` put into an entry.

    Raises:
        UnusableError: ``duplicate_id``.

    """
    if entry.handle is None:
        raise UnusableError(DropReason.DUPLICATE_ID, f"id {entry.record_id} was listed before")
    number: int = entry.handle
    return number
