"""The imagefolder layout of ``datasets``: images next to one metadata file per split. Owns the columns of the metadata.

File names have no folders, as readers interpret words in them as splits. ``image_path`` has the names in the dataset.

The metadata file is ``metadata.parquet``, not ``metadata.jsonl``: readers infer the types of JSON from the first
values, and refuse a dataset if one split has an empty list, or null, where another has a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.schema import label_map_metadata, record_to_row, row_schema
from datasetkit.export.formats.built import BuiltDataset, ImageRecords
from datasetkit.export.formats.names import FileNames
from datasetkit.export.formats.result import ExportResult

_ROW_GROUP_ROWS = 400


def write_imagefolder(dataset: BuiltDataset, target: Path) -> ExportResult:
    """Write ``SPLIT/metadata.parquet`` with the images next to it, one file and one row per record.

    The columns are those of the dataset, with ``file_name``, ``image_path`` and ``license`` in place of the images. The
    metadata of the file contain the label map.
    """
    columns = [field for field in row_schema(overlay=False) if field.name != "image"]
    schema = pa.schema(
        [("file_name", pa.string()), *columns, ("license", pa.string()), ("image_path", pa.string())],
        metadata=label_map_metadata(dataset.label_map),
    )
    records = objects = 0
    for split in dataset.splits:
        folder = target / split
        folder.mkdir()
        names = FileNames()
        rows = chain.from_iterable(_rows(image, folder, names) for image in dataset.images(split))
        with pq.ParquetWriter(folder / "metadata.parquet", schema, compression="zstd") as writer:
            while group := list(islice(rows, _ROW_GROUP_ROWS)):
                writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))
                records += len(group)
                objects += sum(len(row["objects"]) for row in group)
    return ExportResult(records, records, objects)


def _rows(image: ImageRecords, folder: Path, names: FileNames) -> Iterator[dict[str, Any]]:
    """Write one file per record of an image, as readers reject repeated names; return the rows."""
    stem, _, suffix = image.name.rpartition(".")
    for place, record in enumerate(image.records):
        wanted = PurePosixPath(record.image.name).name
        name = names.take("" if place else wanted, f"{stem}-{place}.{suffix}" if place else image.name)
        (folder / name).write_bytes(image.image.data)
        row = record_to_row(record)
        del row["image"]
        yield {"file_name": name, **row, "license": record.source.license, "image_path": record.image.name}
