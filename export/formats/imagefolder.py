"""The imagefolder layout of ``datasets``: images next to one metadata file per split. Owns the columns of the metadata.

File names have no folders, as readers interpret words in them as splits. ``image_path`` has the names in the dataset.

The metadata file is ``metadata.parquet``, not ``metadata.jsonl``: readers infer the types of JSON from the first
values, and refuse a dataset if one split has an empty list, or null, where another has a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.schema import label_map_metadata, record_to_row, row_schema
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.export.formats.images import ImageRecords
from datasetkit.export.formats.names import FileNames
from datasetkit.export.formats.result import ExportResult
from datasetkit.export.formats.spans import Plan

_ROW_GROUP_ROWS = 400


def write_imagefolder(dataset: BuiltDataset, target: Path) -> ExportResult:
    """Write ``SPLIT/metadata.parquet`` with the images next to it, one file and one row per record.

    The columns are those of the dataset, with ``file_name``, ``image_path`` and ``license`` in place of the images. The
    metadata of the file contain the label map.
    """
    records = objects = 0
    for split in dataset.splits:
        folder = target / split
        folder.mkdir()
        names = FileNames()
        with _Rows(folder / "metadata.parquet", _schema(label_map_metadata(dataset.label_map))) as rows:
            for piece, more in dataset.converted(
                (plan.span, partial(_convert, names=_names(plan, names), folder=folder, piece=_piece(folder, plan)))
                for plan in dataset.plans(split)
            ):
                records += rows.take(piece)
                objects += more
    return ExportResult(records, records, objects)


def _schema(metadata: Mapping[bytes, bytes] | None = None) -> pa.Schema:
    columns = [field for field in row_schema(overlay=False) if field.name != "image"]
    return pa.schema(
        [("file_name", pa.string()), *columns, ("license", pa.string()), ("image_path", pa.string())],
        metadata=metadata,
    )


def _piece(folder: Path, plan: Plan) -> Path:
    return folder / f"{plan.span.index:05d}.part"


def _names(plan: Plan, names: FileNames) -> tuple[str, ...]:
    """Return a file name for each record, as readers reject repeated names."""
    found = []
    for index, rows in enumerate(plan.images):
        for place in range(len(rows)):
            wanted = "" if place else PurePosixPath(rows[0]["image"]["path"]).name
            found.append(names.take(wanted, partial(_own_name, plan, index, place)))
    return tuple(found)


def _own_name(plan: Plan, index: int, place: int) -> str:
    stem, _, suffix = plan.name(index).rpartition(".")
    return f"{stem}-{place}.{suffix}" if place else f"{stem}.{suffix}"


def _convert(images: Iterator[ImageRecords], names: Iterable[str], folder: Path, piece: Path) -> tuple[Path, int]:
    """Write one file per record, and the rows to an Arrow file; return it with the number of objects."""
    schema = _schema()
    rows = _rows(images, iter(names), folder)
    objects = 0
    with pa.ipc.new_file(str(piece), schema) as writer:
        while group := list(islice(rows, _ROW_GROUP_ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))
            objects += sum(len(row["objects"]) for row in group)
    return piece, objects


def _rows(images: Iterator[ImageRecords], names: Iterator[str], folder: Path) -> Iterator[dict[str, Any]]:
    for image in images:
        for record in image.records:
            name = next(names)
            (folder / name).write_bytes(image.image.data)
            row = record_to_row(record)
            del row["image"]
            yield {"file_name": name, **row, "license": record.source.license, "image_path": record.image.name}


class _Rows:
    """The metadata of a split, in row groups of equal size; a context manager that writes the last one."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting = schema.empty_table()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._writer:
            if kind is None and self._waiting.num_rows:
                self._write(self._waiting)

    def take(self, piece: Path) -> int:
        """Append the rows of an Arrow file, and delete it; return their number."""
        with pa.OSFile(str(piece)) as file:
            table = pa.ipc.open_file(file).read_all()
        piece.unlink()
        waiting = pa.concat_tables([self._waiting, table.replace_schema_metadata(self._waiting.schema.metadata)])
        while waiting.num_rows >= _ROW_GROUP_ROWS:
            self._write(waiting.slice(0, _ROW_GROUP_ROWS))
            waiting = waiting.slice(_ROW_GROUP_ROWS)
        self._waiting = waiting
        return int(table.num_rows)

    def _write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows.combine_chunks())
