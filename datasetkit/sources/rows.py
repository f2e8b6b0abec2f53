"""Rows of tables as records. Owns how an image with a text becomes a record, and how a built record is restored.

Also owns the entries of numbered rows.
"""

from __future__ import annotations

import hashlib
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import LoadedImage, load_image
from datasetkit.core.ledger import CHANGED_BYTES, DropReason, Notice, NoticeKind
from datasetkit.core.protocols import Entry, Reading, Source, SourceContext
from datasetkit.core.record import Provenance, Record
from datasetkit.core.schema import row_to_record
from datasetkit.sources.columns import UNKNOWN_LICENSE, Columns
from datasetkit.sources.files import as_text, split_of_value
from datasetkit.sources.texts import without_markup

_MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".webp"))
ANSWERERS = frozenset({"gpt", "assistant", "model", "bot", "chatgpt"})


class Row(NamedTuple):
    """A row before it is read: its number, and its id; ``fallback`` is its name if it has no id."""

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
        """Yield an entry for every row; the handle is its number, or None if an earlier row has the same id."""
        seen: set[str] = set()
        for row in self._rows_known():
            name = id_of_value(row.record_id) or row.fallback
            objects = tuple(f"{name}/{object_id}" for object_id in row.object_ids)
            yield Entry(name, objects, row.split, None if name in seen else row.number)
            seen.add(name)

    def read(self, entry: Entry) -> Reading:
        """Read one row and make its record.

        Raises:
            UnusableError: the row cannot become a record, or has the id of an earlier one.
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
        """Make a record of a row in Arrow's form, images encoded; a row of a built dataset keeps its ``uri``.

        Raises:
            UnusableError: the image or its description cannot be used.

        """
        if columns.is_record:
            return self._whole(entry, row)
        description = list(texts_in(row[columns.text_path[0]], columns.text_path[1:])) if columns.text else None
        license_name = first_text(row[columns.license]) if columns.license else None
        data, name = image_of(row[columns.image], entry.record_id)
        return self.reading(entry, data, name, description, license_name, uri)

    def reading(
        self,
        entry: Entry,
        data: bytes,
        name: str,
        description: object,
        license_name: str | None,
        uri: str,
        notices: Sequence[NoticeKind] = (),
    ) -> Reading:
        """Make a record of an image and what is known about it; see :meth:`read` and :func:`description_of`."""
        text, of_text = description_of(description)
        loaded = load_image(data, name, self.context.limits)
        source = Provenance(
            uri, license_name or self.context.license or UNKNOWN_LICENSE, hashlib.sha256(data).hexdigest()
        )
        record = Record(entry.record_id, entry.record_id, loaded.encoded, text, source)
        kinds = (*loaded.notices, *notices, *of_text)
        return Reading(record, loaded.pixels, (), tuple(Notice(entry.record_id, kind) for kind in kinds))

    def _whole(self, entry: Entry, row: Mapping[str, Any]) -> Reading:
        data, name = image_of(row["image"], entry.record_id)
        loaded = load_image(data, name, self.context.limits)
        kinds = loaded.notices
        try:
            record = row_to_record(row)
            image = replace(loaded.encoded, name=str(PurePosixPath(record.image.name).with_name(loaded.encoded.name)))
            record = replace(record, image=image)
        except UnusableError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UnusableError(DropReason.BAD_ROW, f"{entry.record_id} is not a valid record: {error}") from error
        if is_other(loaded, record.source.sha256):
            kinds = (*kinds, NoticeKind.OTHER_BYTES)
        notices = tuple(Notice(entry.record_id, kind) for kind in kinds)
        return Reading(record, loaded.pixels, (), notices, is_annotated=True)


def is_other(loaded: LoadedImage, sha256: str) -> bool:
    """Return whether an image that was not re-encoded just now has other bytes than its source recorded."""
    return CHANGED_BYTES.isdisjoint(loaded.notices) and hashlib.sha256(loaded.encoded.data).hexdigest() != sha256


def image_of(value: object, record_id: str) -> tuple[bytes, str]:
    """Return a cell's encoded image and its file name; an image without a name is named after its record.

    Raises:
        UnusableError: the cell has no bytes, or several images; ``name_only`` if it only names a file.

    """
    value = only_image(value, record_id)
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (value, None)
    if not isinstance(data, bytes):
        if isinstance(path, str):
            raise UnusableError(DropReason.NAME_ONLY, f"{record_id} has only the name {as_text(path)!r}")
        raise UnusableError(DropReason.MISSING, f"{record_id} has no image")
    suffix = next((ending for magic, ending in _MAGIC if data.startswith(magic)), "")
    return data, path if isinstance(path, str) and path else record_id.replace("/", "-") + suffix


def only_image(value: object, record_id: str) -> object:
    """Return the only item of a list of images; anything else as it is.

    Raises:
        UnusableError: ``bad_row``: there are several.

    """
    if not isinstance(value, list):
        return value
    if len(value) > 1:
        raise UnusableError(DropReason.BAD_ROW, f"{record_id} has {len(value)} images; a row must have one")
    return value[0] if value else None


def id_of_value(value: object) -> str | None:
    """Return an id as text; None without one. Tables turn whole numbers into floats if one is missing."""
    if value is None or value == "" or value != value:
        return None
    return as_text(str(int(value) if isinstance(value, float) and value.is_integer() else value))


def first_text(value: object) -> str | None:
    """Return a cell's text, or the first of several; None if there is no word in it."""
    texts = value if isinstance(value, list) else [value]
    words = (as_text(text.strip()) for text in texts if isinstance(text, str))
    return next((text for text in words if text), None)


def texts_in(value: object, path: Sequence[str] = ()) -> Iterator[object]:
    """Yield the values at a path inside a cell, those of lists one by one; of a conversation only the answers."""
    if isinstance(value, list | tuple | np.ndarray):
        for item in value:
            yield from texts_in(item, path)
    elif isinstance(value, Mapping) and path:
        role = value.get("from", value.get("role"))
        if role is None or role in ANSWERERS:
            yield from texts_in(value.get(path[0]), path[1:])
    else:
        yield value


def description_of(value: object) -> tuple[str | None, tuple[NoticeKind, ...]]:
    """Make a description of a cell, of which the first text is used, and return what was changed in it.

    Raises:
        UnusableError: ``bad_row``: it is neither a text nor a number.

    """
    notices: list[NoticeKind] = []
    texts: dict[str, None] = {}
    for item in texts_in(value):
        is_number = isinstance(item, int | float) and not isinstance(item, bool)
        if item is None or item != item:
            continue
        if not isinstance(item, str) and not is_number:
            raise UnusableError(DropReason.BAD_ROW, f"the description is a {type(item).__name__}, not a text")
        if is_number and not texts:
            notices.append(NoticeKind.TEXT_FROM_NUMBER)
        texts.setdefault(as_text(str(item).strip()))
    texts.pop("", None)
    if not texts:
        return None, ()
    if len(texts) > 1:
        notices.append(NoticeKind.FURTHER_TEXTS)
    text = next(iter(texts))
    plain = without_markup(text)
    return plain or None, (*notices, NoticeKind.MARKUP_REMOVED) if plain != text else tuple(notices)


def ids_and_splits(
    batch: pa.RecordBatch | pa.Table, columns: Columns
) -> Iterator[tuple[object, Sequence[int], str | None]]:
    """Yield for each row its id, no objects, and the split that it names; None if there is none."""
    ids, splits = (
        batch[name].to_pylist() if name is not None else itertools.repeat(None, batch.num_rows)
        for name in (columns.id, columns.split)
    )
    yield from ((row_id, (), split_of_value(split)) for row_id, split in zip(ids, splits, strict=True))


def object_ids(objects: pa.ListArray) -> list[list[int]]:
    """Return the ids of each row's objects, in a column of a built dataset, without reading the rest of them."""
    return pa.ListArray.from_arrays(objects.offsets, objects.values.field("id")).to_pylist()
