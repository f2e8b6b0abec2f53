"""WebDataset: tar shards in which the files of a sample follow each other. Owns the contents of these files.

``load_dataset`` infers files and types from the first samples. So every sample has files with the same extensions, and
nothing in its JSON is null or an empty list: nested columns are stored as JSON text.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasetkit.core.drawing import object_colour
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.mask import run_lengths
from datasetkit.core.record import Record
from datasetkit.core.schema import record_to_row
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.export.formats.images import ImageRecords, image_suffix
from datasetkit.export.formats.result import ExportResult, losses

SHARD_BYTES = 512 * 2**20
_MOST_COLOURED = 255
_MOST_OBJECTS = 2**16 - 1
_MEANINGS = {
    "covered_pixels": "mask pixels that a smaller object covers in KEY.ids.png; KEY.json has the complete masks",
    "covered_objects": "objects that others cover completely in KEY.ids.png; KEY.json has the complete masks",
    "objects_without_mask": "objects without a mask, which KEY.ids.png does not show; KEY.json has them",
    "categories": "categories of the source's label map, which shards cannot represent; objects have their names",
    "renamed_pictures": "images of other formats than JPEG, named .jpg as formats differ; bytes unchanged",
}


def write_webdataset(dataset: BuiltDataset, target: Path) -> ExportResult:
    """Write ``SPLIT-NNNNN.tar``, each of half a GiB at most (one sample may be more).

    Each record becomes a sample: KEY.jpg (or the extension that all images share), KEY.ids.png (0 for background, else
    1 plus the index of the object in ``objects``), KEY.json, and KEY.txt with the description, empty if there is none.
    """
    suffix = dataset.common_suffix() or ".jpg"
    counts = Counter({"categories": len(dataset.label_map)})
    for split in dataset.splits:
        with _Shards(target, split) as shards:
            for segment in dataset.converted(
                (plan.span, partial(_convert, path=target / f"{split}-{plan.span.index:05d}.part", suffix=suffix))
                for plan in dataset.plans(split)
            ):
                shards.take(segment)
                counts.update(segment.counts)
    return ExportResult(counts["records"], counts["records"], counts["objects"], losses(counts, _MEANINGS))


@dataclass(frozen=True, slots=True)
class _Segment:
    """Samples of a span.

    Args:
        path: tar file with the samples.
        samples: of each sample, the most bytes that it may need, and the bytes that it has in the file.
        counts: records, objects, and what is lost.

    """

    path: Path
    samples: tuple[tuple[int, int], ...]
    counts: Counter[str]


def _convert(images: Iterator[ImageRecords], path: Path, suffix: str) -> _Segment:
    """Write samples to a tar file of their own."""
    counts: Counter[str] = Counter()
    samples = []
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for image in images:
            for place, record in enumerate(image.records):
                counts["records"] += 1
                counts["objects"] += len(record.objects)
                counts["renamed_pictures"] += image_suffix(image.image) != suffix
                start = tar.offset
                files = {
                    suffix: record.image.data,
                    ".ids.png": _id_map(record, counts),
                    ".json": json.dumps(_columns(record), ensure_ascii=False).encode(),
                    ".txt": (record.description or "").encode(),
                }
                for ending, data in sorted(files.items()):
                    # Time, owner and permissions are the same on every machine.
                    entry = tarfile.TarInfo(f"{image.number:08d}-{place}{ending}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
                most = sum(len(data) + 2 * tarfile.BLOCKSIZE for data in files.values())
                samples.append((most, tar.offset - start))
    return _Segment(path, tuple(samples), counts)


def _columns(record: Record) -> dict[str, Any]:
    """Return the columns of a record, each with the same type in all samples, even if null or empty."""
    row = record_to_row(record)
    lists = ("objects", "phrases", "questions", "absent_categories", "partial_categories")
    nested = {name: json.dumps(row[name], ensure_ascii=False) for name in lists}
    return {
        "record_id": record.record_id,
        "image_id": record.image_id,
        "file_name": record.image.name,
        "width": record.image.width,
        "height": record.image.height,
        "has_description": record.description is not None,
        "language": record.language or "",
        **row["source"],
        **nested,
    }


def _id_map(record: Record, counts: Counter[str]) -> bytes:
    """Return an image of object numbers as PNG, large objects drawn first: mode P up to 255 objects, 16 bit above."""
    objects = record.objects
    if len(objects) > _MOST_OBJECTS:
        raise BuiltFolderError(f"record {record.record_id} has {len(objects):,} objects; at most {_MOST_OBJECTS:,} fit")
    height, width = record.image.size_hw
    columns = np.zeros(width * height, dtype=np.uint16)
    masks = [(number, item.mask) for number, item in enumerate(objects, start=1) if item.mask is not None]
    for number, mask in sorted(masks, key=lambda numbered: -numbered[1].area):
        ends = np.cumsum(run_lengths(mask.counts))
        for start, end in zip(ends[0::2].tolist(), ends[1::2].tolist(), strict=False):
            columns[start:end] = number
    counts["covered_pixels"] += sum(mask.area for _, mask in masks) - int(np.count_nonzero(columns))
    counts["covered_objects"] += len(masks) - int(np.count_nonzero(np.unique(columns)))
    counts["objects_without_mask"] += len(objects) - len(masks)
    return _png(columns.reshape(width, height).T, len(objects))


def _png(ids: NDArray[np.uint16], objects: int) -> bytes:
    buffer = io.BytesIO()
    if objects > _MOST_COLOURED:
        Image.fromarray(np.ascontiguousarray(ids)).save(buffer, "PNG")
    else:
        image = Image.fromarray(ids.astype(np.uint8))
        colours = [(0, 0, 0), *(object_colour(number) for number in range(objects))]
        image.putpalette([value for colour in colours for value in colour])
        image.save(buffer, "PNG")
    return buffer.getvalue()


class _Shards:
    """The tar files of a split; a context manager that closes the last."""

    def __init__(self, target: Path, split: str) -> None:
        self._target = target
        self._split = split
        self._count = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def take(self, segment: _Segment) -> None:
        """Append the samples of a segment, and delete it; one that would make a shard too large begins a new one."""
        with segment.path.open("rb") as samples:
            for most, length in segment.samples:
                file = self._file_for(most)
                file.write(samples.read(length))
        segment.path.unlink()

    def _file_for(self, size: int) -> BinaryIO:
        if self._file is None or self._file.tell() + size > SHARD_BYTES:
            self._close()
            self._file = (self._target / f"{self._split}-{self._count:05d}.tar").open("wb")
            self._count += 1
        return self._file

    def _close(self) -> None:
        """End the current file as tar files end: two empty blocks, and up to the size of a record."""
        if self._file is not None:
            with self._file as file:
                end = file.tell() + 2 * tarfile.BLOCKSIZE
                file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
