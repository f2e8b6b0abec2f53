"""Rows that are here as objects: dictionaries, a ``datasets.Dataset``, any sequence of rows. Owns their reading."""

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
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import Entry, Reading, SourceContext
from datasetkit.options.sources import TableOptions
from datasetkit.sources.columns import PICTURE_NAMES, check_texts, find_columns
from datasetkit.sources.files import read_picture
from datasetkit.sources.hub_loading import encoded
from datasetkit.sources.rows import Row, RowReader, RowSource


class InMemorySource(RowSource):
    """Rows with an image and a text.

    Args:
        rows: a sequence of mappings, such as a list, a ``datasets.Dataset`` or an object with ``__len__`` and
            ``__getitem__``. An image is a PIL image, encoded bytes, a path, ``{"bytes", "path"}``, or an array of shape
            (height, width, 3), RGB, uint8. Rows of a built dataset come back as the records they were. A sequence that
            has a method ``fingerprint`` says by it whether it is unchanged; else all rows are read once for that.
        options: which columns hold what.
        context: as for every source.

    Raises:
        SourceError: there are no rows, or no column of images.

    """

    def __init__(self, rows: Any, options: TableOptions, context: SourceContext = SourceContext()) -> None:
        if not hasattr(rows, "__getitem__") or not hasattr(rows, "__len__") or not len(rows):
            raise SourceError(
                f"{options.name} is not a sequence of rows, or is empty; give a list or a datasets.Dataset"
            )
        self._name, self._limits = options.name.removeprefix("builtins:"), context.limits
        is_dataset = type(rows).__module__.partition(".")[0] == "datasets"
        if is_dataset:
            if getattr(rows, "features", None) is None or not hasattr(rows, "select_columns"):
                raise SourceError(f"{type(rows).__name__} is not a datasets.Dataset; give one split of it")
            schema = rows.features.arrow_schema
        else:
            first = rows[0]
            if not isinstance(first, Mapping):
                raise SourceError(f"rows of {self._name} are of type {type(first).__name__}; give mappings")
            images = {*PICTURE_NAMES} if options.image_column is None else {options.image_column}
            schema = pa.schema([(str(name), _kind(value, is_image=name in images)) for name, value in first.items()])
        self._columns = find_columns(schema, self._name, options)
        if options.image_column is options.id_column is None:
            check_texts([(schema, self._columns)], self._name, "text-column")
        self._rows = encoded(rows, self._columns) if is_dataset else rows
        self._reader = RowReader(context)
        self._given = rows

    def fingerprint(self) -> str:
        """Hex digest over all rows, or what the rows' own method returns."""
        if hasattr(self._given, "fingerprint"):
            return str(self._given.fingerprint())
        digest = hashlib.sha256(json.dumps([self._name, self._columns.names, len(self)]).encode())
        for number in range(len(self)):
            row = self._rows[number]
            digest.update(_digest(row[self._columns.image]))
            others = [row.get(name) for name in self._columns.names if name != self._columns.image]
            digest.update(json.dumps(others, default=str).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def _rows_known(self) -> Iterator[Row]:
        """Go through the rows; those of a built dataset are read for their ids."""
        columns = self._columns
        for number in range(len(self)):
            row = self._rows[number] if columns.is_record or columns.id else {}
            record_id = row.get("record_id" if columns.is_record else columns.id or "")
            objects = [item["id"] for item in row["objects"]] if columns.is_record else []
            yield Row(number, record_id, f"{number:06d}", objects)

    def _read(self, entry: Entry, number: int) -> Reading:
        row = dict(self._rows[number])
        if self._columns.image not in row:
            raise UnusableError(DropReason.BAD_ROW, f"row {number} has no {self._columns.image!r}; it has {list(row)}")
        image = row[self._columns.image]
        if isinstance(image, str | Path):
            row[self._columns.image] = {"bytes": read_picture(Path(image), self._limits), "path": Path(image).name}
        elif isinstance(image, Image.Image | np.ndarray):
            row[self._columns.image] = _png(image)
        row = {name: row.get(name) for name in self._columns.names}
        return self._reader.read(entry, row, self._columns, entry.record_id)


def _kind(value: object, *, is_image: bool) -> pa.DataType:
    """Return the Arrow type that columns are found by; images of every form are binary."""
    if isinstance(value, Image.Image | bytes | Path | np.ndarray) or (isinstance(value, Mapping) and "bytes" in value):
        return pa.binary()
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
    except (OSError, TypeError, ValueError) as error:
        raise UnusableError(DropReason.UNSUPPORTED_PIXELS, f"the image cannot be encoded: {error}") from error
    return buffer.getvalue()


def _digest(image: object) -> bytes:
    if isinstance(image, Mapping):
        image = image.get("bytes") or image.get("path")
    data = image.tobytes() if isinstance(image, Image.Image | np.ndarray) else image
    return hashlib.sha256(data if isinstance(data, bytes) else str(data).encode()).digest()
