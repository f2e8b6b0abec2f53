"""Rows that are Python objects: dictionaries, a ``datasets.Dataset``, any sequence of rows. Owns their reading."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason, PassedOver
from datasetkit.core.limits import ImageLimits
from datasetkit.core.protocols import Entry, Reading, SourceContext
from datasetkit.core.schema import FIRST_VERSION, SCHEMA_VERSION, row_schema
from datasetkit.options.sources import TableOptions
from datasetkit.sources.columns import IMAGE_NAMES, TEXT_HINT, Columns, count_unused, find_columns, is_image_column
from datasetkit.sources.files import CAPTION_COLUMNS, NO_CAPTION_COLUMN, read_image, split_of_value
from datasetkit.sources.hub_loading import encoded
from datasetkit.sources.rows import Row, RowReader, RowSource, only_image
from datasetkit.sources.unused import Unused

_ROWS_LOOKED_AT = 100


class InMemorySource(RowSource):
    """Rows with an image and a text.

    Args:
        rows: a sequence of mappings, such as a list, a ``datasets.Dataset`` or an object with ``__len__`` and
            ``__getitem__``. An image is a PIL image, encoded bytes, a path, ``{"bytes", "path"}``, or an array of shape
            (height, width, 3), RGB, uint8. Rows of a built dataset are read back as the original records. If the
            sequence has a method ``fingerprint``, its result shows whether the rows have changed; otherwise all rows
            are read once for that.
        options: which columns hold what.
        context: as for every source.

    Raises:
        SourceError: there are no rows, or there is no column of images.

    """

    def __init__(self, rows: Any, options: TableOptions, context: SourceContext = SourceContext()) -> None:
        self._name, self._limits = options.name, context.limits
        self._unused = Unused(options.name, options.ignore)
        package = type(rows).__module__.partition(".")[0]
        if package == "pandas" and hasattr(rows, "to_dict"):
            rows = rows.to_dict("records")
        is_sequence = hasattr(rows, "__getitem__") and hasattr(rows, "__len__") and not isinstance(rows, Mapping)
        if not is_sequence or not len(rows):
            raise SourceError(f"a {type(rows).__name__} is not a sequence of rows, or empty; give a list or a Dataset")
        if package == "datasets":
            if getattr(rows, "features", None) is None or not hasattr(rows, "select_columns"):
                raise SourceError(f"{type(rows).__name__} is not a datasets.Dataset; give one split of it")
            self._columns = self._found(rows.features.arrow_schema, options)
            rows = encoded(rows.with_format(None), self._columns)
        else:
            first = _first_values(rows)
            whole = [
                version
                for version in (SCHEMA_VERSION, FIRST_VERSION)
                if {*row_schema(overlay=False, version=version).names} <= first.keys()
            ]
            if whole:
                self._columns = Columns("image", is_record=True, version=whole[0])
            else:
                images = {*IMAGE_NAMES} if options.image_column is None else {options.image_column}
                texts = {*CAPTION_COLUMNS} if options.text_column is None else {options.text_column}
                kinds = [
                    (str(name), _kind(value, is_image=name in images, is_text=name in texts))
                    for name, value in first.items()
                ]
                self._columns = self._found(pa.schema(kinds), options)
        self._rows = rows
        self._reader = RowReader(context)

    def _found(self, schema: pa.Schema, options: TableOptions) -> Columns:
        columns = find_columns(schema, self._name, options)
        count_unused(self._unused, schema, columns)
        has_texts = bool(columns.text) or options.names_columns
        self._unused.check(has_texts=has_texts, no_texts=NO_CAPTION_COLUMN, hint=TEXT_HINT)
        return columns

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield the columns that are not read."""
        return iter(self._unused.counts)

    def fingerprint(self) -> str:
        """Return a hex digest of all rows, or the result of the rows' method ``fingerprint``."""
        if hasattr(self._rows, "fingerprint"):
            return str(self._rows.fingerprint())
        columns = self._columns
        digest = hashlib.sha256(json.dumps([self._name, columns.names, len(self)]).encode())
        for number in range(len(self)):
            try:
                row = self._row(number)
                others = [row.get(name) for name in columns.names if name != columns.image]
                facts = json.dumps([_digest(row[columns.image], self._limits), others], default=str)
            except UnusableError as error:
                facts = error.detail
            digest.update(facts.encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def _rows_known(self) -> Iterator[Row]:
        """Yield the rows; those of a built dataset are read for their ids."""
        columns = self._columns
        for number in range(len(self)):
            row: Any = self._rows[number] if columns.is_record or columns.id or columns.split else None
            row = row if isinstance(row, Mapping) else {}
            record_id = row.get("record_id" if columns.is_record else columns.id or "")
            objects = [item["id"] for item in row.get("objects") or ()] if columns.is_record else []
            split = split_of_value(row.get(columns.split or ""))
            yield Row(number, record_id, f"{number:06d}", objects, split)

    def _read(self, entry: Entry, number: int) -> Reading:
        row = self._row(number)
        image = row[self._columns.image]
        if isinstance(image, Path):
            row[self._columns.image] = {"bytes": read_image(image, self._limits, image.parent), "path": image.name}
        elif isinstance(image, Image.Image | np.ndarray):
            name = f"{entry.record_id.replace('/', '-')}.png"
            row[self._columns.image] = {"bytes": _png(image), "path": name}
        return self._reader.read(entry, row, self._columns, entry.record_id)

    def _row(self, number: int) -> dict[str, Any]:
        """Return the columns of a row, an image file as its path.

        Raises:
            UnusableError: it is not a row, or has a value of another type as text or image.

        """
        columns, row = self._columns, self._rows[number]
        if not isinstance(row, Mapping) or columns.image not in row:
            has = ", ".join(map(str, row)) if isinstance(row, Mapping) else f"it is a {type(row).__name__}"
            raise UnusableError(DropReason.BAD_ROW, f"row {number} has no {columns.image!r}: {has}")
        image = only_image(row[columns.image], f"row {number}")
        if isinstance(image, Mapping) and image.get("bytes") is None and image.get("path"):
            image = image["path"]  # of a file, as in `datasets`; the caller may read it
        if isinstance(image, str):
            image = Path(image)
        if isinstance(image, bytearray | memoryview):
            image = bytes(image)
        return {name: row.get(name) for name in columns.names} | {columns.image: image}


def _first_values(rows: Any) -> dict[Any, Any]:
    """Return the columns of rows, each with its first value that is not missing; of lazy rows only one is read."""
    every = rows[:_ROWS_LOOKED_AT] if isinstance(rows, list | tuple) else [rows[0]]
    if not isinstance(every[0], Mapping):
        raise SourceError(f"rows are of type {type(every[0]).__name__}; give mappings")
    found: dict[Any, Any] = {}
    for row in every:
        found |= (
            {name: value for name, value in row.items() if _is_missing(found.get(name))}
            if isinstance(row, Mapping)
            else {}
        )
    return found


def _has_mappings(values: list[Any]) -> bool:
    return any(isinstance(value, Mapping) for value in values)


def _is_missing(value: object) -> bool:
    """Return whether a cell is None, or the NaN that tables use for it."""
    return value is None or (isinstance(value, float) and value != value)


def _kind(value: object, *, is_image: bool, is_text: bool = False) -> pa.DataType:
    """Return the Arrow type by which columns are found: binary for images of any form, string for texts and numbers."""
    if is_text and (isinstance(value, int | float) or (isinstance(value, list) and not _has_mappings(value))):
        return pa.list_(pa.string()) if isinstance(value, list) else pa.string()
    images = Image.Image | bytes | bytearray | memoryview | Path | np.ndarray
    if isinstance(value, images) or (isinstance(value, Mapping) and "bytes" in value):
        return pa.binary()
    if isinstance(value, list) and value and is_image_column(item := _kind(value[0], is_image=is_image)):
        return pa.list_(item)
    if isinstance(value, str):
        return pa.binary() if is_image else pa.string()
    try:
        return pa.infer_type([value])
    except (pa.ArrowException, TypeError):
        return pa.null()


def _png(image: Image.Image | np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, "PNG")
    except (LookupError, OSError, TypeError, ValueError, SyntaxError) as error:
        raise UnusableError(DropReason.UNSUPPORTED_PIXELS, f"the image cannot be encoded: {error}") from error
    return buffer.getvalue()


def _digest(image: object, limits: ImageLimits) -> str:
    """Hash what determines an image's pixels: those of an object with their form, or the bytes of a file."""
    if isinstance(image, Path):
        image = read_image(image, limits)
    if isinstance(image, Mapping):
        image = image.get("bytes")
    if isinstance(image, np.ndarray):
        form, data = f"{image.dtype}{image.shape}", image.tobytes()
    elif isinstance(image, Image.Image):
        try:
            form, data = f"{image.mode}{image.size}{image.getpalette()}", image.tobytes()
        except (OSError, ValueError, SyntaxError) as error:
            raise UnusableError(DropReason.TRUNCATED, f"the image cannot be read: {error}") from error
    else:
        form, data = type(image).__name__, image if isinstance(image, bytes) else str(image).encode()
    return hashlib.sha256(form.encode() + data).hexdigest()
