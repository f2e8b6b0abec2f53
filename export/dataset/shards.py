"""Parquet shards: rows in, one finished file out. Owns the layout of rows in Parquet.

Encoded images are stored uncompressed (they do not compress further), in content-defined chunks, so that the Hub stores
equal images once; everything else is compressed. Small row groups and a page index let viewers and streams read a few
rows without the rest. Equal rows give equal bytes.

A shard appears under its name when it is complete, so that a killed process leaves no half of one. It is not flushed
here: what a machine that dies leaves of it does not count until something that is on disk names it, and the journal of
a build flushes the shards of a part, once each, before it creates the part's marker. The kernel is asked to start
writing each row group, so that this flush has little left to do.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import RecordError
from datasetkit.core.files import PARTIAL, naming
from datasetkit.core.schema import row_schema

ROW_GROUP_ROWS = 400
ROW_GROUP_IMAGE_BYTES = 32 * 2**20
_CHUNKING = {"min_chunk_size": 256 * 2**10, "max_chunk_size": 2**20}
_ZSTD_LEVEL = 3
_PICTURE_COLUMNS = ("image", "overlay")


@dataclass(frozen=True, slots=True)
class ShardSize:
    """Numbers of rows and bytes of a finished shard."""

    rows: int
    bytes: int


class ShardWriter:
    """Writes rows to one Parquet file, which appears under its name only when it is complete.

    As a context manager it closes at the end, or removes what it wrote if the body raises. The folder must exist; an
    existing file is replaced.
    """

    def __init__(self, path: Path, *, overlay: bool) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}{PARTIAL}")
        self._schema = row_schema(overlay=overlay)
        self._columns = frozenset(self._schema.names)
        self._pending: list[Mapping[str, Any]] = []
        self._pending_bytes = 0
        self._rows = 0
        self._size: ShardSize | None = None
        self._file = pa.OSFile(str(self._partial), "wb")
        self._writer = _parquet_writer(self._file, self._schema)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row from :func:`datasetkit.core.schema.record_to_row`.

        Raises:
            RecordError: the row has other columns than the schema, an image without bytes, or (found when its row
                group is written) a value that its column cannot store.

        """
        if row.keys() != self._columns:
            raise RecordError(f"row has the columns {sorted(row)}; this shard takes {sorted(self._schema.names)}")
        self._pending.append(row)
        self._pending_bytes += sum(_image_bytes(row, name) for name in _PICTURE_COLUMNS if name in row)
        if len(self._pending) >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_IMAGE_BYTES:
            self._write_row_group()

    def close(self) -> ShardSize:
        """Write the remaining rows and rename the file; a second call does nothing."""
        if self._size is None:
            if self._pending:
                self._write_row_group()
            with naming(self._path):
                self._writer.close()
                self._file.close()
                self._size = ShardSize(self._rows, self._partial.stat().st_size)
                self._partial.replace(self._path)
        return self._size

    def abort(self) -> None:
        """Remove what was written, unless the shard is already closed."""
        if self._size is None:
            with contextlib.suppress(OSError, pa.ArrowException):  # the disk may be full: the file goes away anyway
                self._writer.close()
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()

    def _write_row_group(self) -> None:
        try:
            columns = []
            for field in self._schema:
                convert = _image_array if field.name in _PICTURE_COLUMNS else pa.array
                columns.append(convert([row[field.name] for row in self._pending], field.type))
            batch = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        except (TypeError, ValueError) as error:  # includes errors of Arrow, and text that is not Unicode
            last = self._rows + len(self._pending) - 1
            raise RecordError(
                f"rows {self._rows} to {last} of {self._path.name} violate the schema: {error}"
            ) from error
        start = self._file.tell()
        with naming(self._path):
            self._writer.write_batch(batch, row_group_size=batch.num_rows)
        _start_writeback(self._partial, start, self._file.tell() - start)
        self._rows += batch.num_rows
        self._pending, self._pending_bytes = [], 0


def _image_bytes(row: Mapping[str, Any], column: str) -> int:
    value = row[column]
    if not isinstance(value, Mapping) or not isinstance(value.get("bytes"), bytes):
        raise RecordError(f'{column} of row {row["record_id"]!r} is not {{"bytes": encoded image, "path": file name}}')
    return len(value["bytes"])


def _parquet_writer(file: pa.NativeFile, schema: pa.Schema) -> pq.ParquetWriter:
    leaves = [leaf for field in schema for leaf in _leaf_paths(field.type, field.name)]
    images = {f"{name}.bytes" for name in _PICTURE_COLUMNS}
    others = [leaf for leaf in leaves if leaf not in images]
    return pq.ParquetWriter(
        file,
        schema,
        use_dictionary=others,
        compression={leaf: "NONE" if leaf in images else "ZSTD" for leaf in leaves},
        compression_level=dict.fromkeys(others, _ZSTD_LEVEL),
        use_content_defined_chunking=_CHUNKING,
        write_page_index=True,
    )


def _leaf_paths(kind: pa.DataType, path: str) -> Iterator[str]:
    """Return the paths of the leaves of a column, as Parquet spells them."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaf_paths(field.type, f"{path}.{field.name}")
    elif pa.types.is_list(kind):
        yield from _leaf_paths(kind.value_type, f"{path}.list.element")
    else:
        yield path


def _image_array(values: Sequence[Mapping[str, Any]], kind: pa.DataType) -> pa.StructArray:
    """Copy images into one buffer, once, which is faster than letting Arrow append them one by one.

    Arrow's pool keeps the memory of former row groups, whereas the system would have to clear new pages for each.
    """
    data = [value["bytes"] for value in values]
    offsets = np.zeros(len(data) + 1, dtype=np.int64)
    np.cumsum([len(item) for item in data], out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"one row group contains {offsets[-1]:,} bytes of images; at most 2 GiB are possible")
    buffer = pa.allocate_buffer(int(offsets[-1]))
    target = memoryview(buffer).cast("B")
    for start, item in zip(offsets[:-1].tolist(), data, strict=True):
        target[start : start + len(item)] = item
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), buffer]
    encoded = pa.Array.from_buffers(pa.binary(), len(data), buffers)
    return pa.StructArray.from_arrays(
        [encoded, pa.array([value["path"] for value in values], pa.string())], fields=list(kind)
    )


def _start_writeback(path: Path, start: int, length: int) -> None:
    """Ask the kernel to start writing a part of a file, so that the final flush has little left to do.

    Pages that are not on disk yet stay in memory; the advice only starts their transfer.
    """
    if hasattr(os, "posix_fadvise"):  # not on macOS
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
