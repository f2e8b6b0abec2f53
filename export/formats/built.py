"""A built folder as the formats read it: splits, categories, and images with their records.

Owns the grouping of consecutive records of one image that agree about it. Keeps only a few records in memory.
"""

from __future__ import annotations

import io
import re
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from datasetkit.core.errors import BuiltFolderError, RecordError
from datasetkit.core.files import file_sha256
from datasetkit.core.label_map import UNNAMED, Category, LabelMap
from datasetkit.core.record import EncodedImage, KeyObject, Record
from datasetkit.export.dataset.manifest import Manifest, Shard
from datasetkit.export.dataset.reading import iter_records, iter_shard, naming_row
from datasetkit.runtime.progress import OnProgress, counter

ObjectKey = tuple[Hashable, int]
_LONGEST_STEM = 48
_SUFFIXES = {
    "AVIF": ".avif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "JPEG": ".jpg",
    "JPEG2000": ".jp2",
    "PNG": ".png",
    "PPM": ".ppm",
    "TIFF": ".tif",
    "WEBP": ".webp",
}
_KNOWN_SUFFIXES = frozenset(_SUFFIXES.values())
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_PICTURE_COLUMNS = (
    "image.path",
    "image_id",
    "source.uri",
    "source.license",
    "source.sha256",
    "absent_categories.list.element",
    "partial_categories.list.element",
)
_OBJECT_COLUMNS = tuple(
    f"objects.list.element.{name}" for name in ("mask.counts", "bbox.list.element", "category", "is_crowd", "source_id")
)
_CATEGORY_COLUMNS = ("objects.list.element.category", *_PICTURE_COLUMNS[-2:])


@dataclass(frozen=True, slots=True)
class ImageRecords:
    """One image and all of its records.

    Args:
        number: index in the split, from 0.
        records: at least one; several if the image has several descriptions.

    """

    number: int
    records: tuple[Record, ...]

    @property
    def image(self) -> EncodedImage:
        """The file."""
        return self.records[0].image

    @property
    def name(self) -> str:
        """File name, unique in the split: ASCII letters, digits, ``-`` and ``_``, and one dot before the extension."""
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePosixPath(self.image.name).stem)[:_LONGEST_STEM].strip("-")
        return f"{self.number:08d}{'-' if stem else ''}{stem}{image_suffix(self.image)}"

    @property
    def objects(self) -> dict[ObjectKey, KeyObject]:
        """The objects of all records; one that is in several records is listed once, as in the first of them."""
        found: dict[ObjectKey, KeyObject] = {}
        for record in self.records:
            for key, item in zip(object_keys(record), record.objects, strict=True):
                found.setdefault(key, item)
        return found


def says_more(item: KeyObject) -> bool:
    """Whether more than mask and category is known about an object: status, scores, salience or a source box."""
    return item != KeyObject(item.id, item.mask, item.category, is_crowd=item.is_crowd, box=item.box)


def object_keys(record: Record) -> list[ObjectKey]:
    """Return keys of the objects of a record that are the same in all records of its image.

    A key consists of what an object is in its source (mask or box, category, crowd, id), and the number of objects
    before it in the record that are equal in this.
    """
    return _numbered(
        (item.box if item.mask is None else item.mask.counts, item.category, item.is_crowd, item.source_id)
        for item in record.objects
    )


def _keys_of_row(objects: Sequence[Mapping[str, Any]]) -> list[ObjectKey]:
    """Return the same keys for the objects of a row."""
    boxes = (item["bbox"] and tuple(item["bbox"]) for item in objects)
    return _numbered(
        (item["mask"]["counts"] if item["mask"] else box, item["category"], item["is_crowd"], item.get("source_id"))
        for item, box in zip(objects, boxes, strict=True)
    )


def _numbered(looks: Iterable[Hashable]) -> list[ObjectKey]:
    seen: Counter[Hashable] = Counter()
    keys = []
    for look in looks:
        keys.append((look, seen[look]))
        seen[look] += 1
    return keys


def _key_of_record(record: Record) -> Hashable:
    """Return the fields that are equal in all records of an image."""
    return record.image.name, record.image_id, record.source, record.absent_categories, record.partial_categories


def _image_key(row: Mapping[str, Any]) -> Hashable:
    """Return the same for a row."""
    lists = (tuple(row.get(name) or ()) for name in ("absent_categories", "partial_categories"))
    return row["image"]["path"], row["image_id"], *row["source"].values(), *lists


def image_suffix(image: EncodedImage) -> str:
    """Return the lower-case extension of an image's name, or that of its format if the name has no image extension.

    Raises:
        RecordError: the bytes are not an image.

    """
    suffix = _usual_suffix(PurePosixPath(image.name).suffix)
    if suffix in _KNOWN_SUFFIXES:
        return suffix
    try:
        with Image.open(io.BytesIO(image.data), formats=tuple(_SUFFIXES)) as opened:
            return _SUFFIXES[str(opened.format)]
    except (OSError, KeyError):
        raise RecordError(f"image.bytes of {image.name} are not an image") from None


def _usual_suffix(suffix: str) -> str:
    return {".jpeg": ".jpg", ".tiff": ".tif"}.get(suffix.lower(), suffix.lower())


class _Numbers:
    """Ids, and whether they are different integers."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._are_whole = True

    def add(self, text: str | None) -> None:
        """Add an id."""
        self._are_whole = self._are_whole and text is not None and bool(_WHOLE.fullmatch(text))
        if self._are_whole:
            self._numbers.append(int(text or 0))

    @property
    def are_ids(self) -> bool:
        """Whether all are integers, without repeats."""
        return self._are_whole and len(np.unique(np.array(self._numbers))) == len(self._numbers)


class BuiltDataset:
    """The exported splits of a built folder; None for all.

    Raises:
        BuiltFolderError: the folder contains no build, or not that split.

    """

    def __init__(self, folder: Path, split: str | None = None, on_progress: OnProgress | None = None) -> None:
        self._folder = folder
        self._manifest = Manifest.read(folder)
        rows = self._manifest.split_rows
        if split is not None and split not in [*rows]:
            raise BuiltFolderError(f"{folder} has no split {split!r}; it has {', '.join(rows) or 'none'}")
        self._sound: set[str] = set()
        self.splits = tuple(rows) if split is None else (split,)
        self._count = counter("exporting", sum(rows[name] for name in self.splits), on_progress)

    def images(self, split: str) -> Iterator[ImageRecords]:
        """Yield the images of a split in order.

        Raises:
            DatasetkitError: a shard does not match the manifest or cannot be read, or a row is not a valid record.

        """
        for number, (_, records) in enumerate(groupby(self._read(split), key=_key_of_record)):
            yield ImageRecords(number, tuple(records))

    @property
    def all_splits(self) -> tuple[str, ...]:
        """The splits of the folder, exported or not."""
        return tuple(self._manifest.split_rows)

    @property
    def label_map(self) -> LabelMap:
        """The categories of the source, unchanged."""
        return self._manifest.label_map

    @cached_property
    def categories(self) -> tuple[Category, ...]:
        """The label map of the source, followed by other categories in records of all splits, by name.

        Their ids follow the highest one of the label map, or are 1, 2, ... without one. ``object`` is the category of
        objects without one.
        """
        label_map = self._manifest.label_map
        found: set[str] = set()
        for split in self._manifest.split_rows:
            for row in self._rows(split, _CATEGORY_COLUMNS):
                found.update(item["category"] or UNNAMED for item in row["objects"])
                found.update(row.get("absent_categories") or (), row.get("partial_categories") or ())
        # Text of digits counts as its number, as readers do not distinguish them.
        numbers = [int(one.id) for one in label_map if not isinstance(one.id, str) or one.id.isdecimal()]
        more = sorted(found - {category.name for category in label_map})
        new = enumerate(more, start=max([*numbers, 0]) + 1)
        return (*label_map, *(Category(number, name, "") for number, name in new))

    def equal_names(self) -> Counter[str]:
        """Return the number of categories of each repeated name."""
        counts = Counter(category.name for category in self.categories)
        return Counter({name: count for name, count in counts.items() if count > 1})

    def common_suffix(self) -> str | None:
        """Return the lower-case extension that all images of the exported splits share; None if there are several."""
        rows = (row for split in self.splits for row in self._rows(split, ("image.path",)))
        found = {_usual_suffix(PurePosixPath(row["image"]["path"]).suffix) for row in rows}
        return found.pop() if len(found) == 1 and found <= _KNOWN_SUFFIXES else None

    def has_number_ids(self, split: str) -> tuple[bool, bool]:
        """Whether the images of a split, and their objects, have different integers as ids."""
        images, objects = _Numbers(), _Numbers()
        for _, rows in groupby(self._rows(split, (*_PICTURE_COLUMNS, *_OBJECT_COLUMNS)), key=_image_key):
            found: dict[ObjectKey, str | None] = {}
            for row in rows:
                pairs = zip(_keys_of_row(row["objects"]), row["objects"], strict=True)
                found.update((key, item.get("source_id")) for key, item in pairs)
            images.add(row["image_id"])
            for source_id in found.values():
                objects.add(source_id)
        return images.are_ids, objects.are_ids

    def _read(self, split: str) -> Iterator[Record]:
        for path in self._shards(split):
            for where, record in iter_records(path):
                with naming_row(where):
                    image_suffix(record.image)  # of every image, before a format names it
                yield record
                self._count(1)

    def _rows(self, split: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        for path in self._shards(split):
            yield from iter_shard(path, columns)

    def _shards(self, split: str) -> Iterator[Path]:
        for shard in self._manifest.shards:
            if shard.split == split:
                self._check(shard)
                yield self._folder / shard.path

    def _check(self, shard: Shard) -> None:
        """Compare a shard with the manifest at its first read."""
        path = self._folder / shard.path
        if shard.path not in self._sound and path.is_file() and file_sha256(path) != shard.sha256:
            raise BuiltFolderError(
                f"{path} does not match the manifest; `datasetkit verify {self._folder}` lists the faults. "
                "Download or rebuild the dataset, then export it"
            )
        self._sound.add(shard.path)
