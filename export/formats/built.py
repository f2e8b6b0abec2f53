"""A built folder as the formats see it: splits, category names, and pictures with their records.

Owns what one picture is: consecutive records of one image id and one file. Holds a few records in memory at a time.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from datasetkit.core.errors import BuiltFolderError, RecordError
from datasetkit.core.files import file_sha256
from datasetkit.core.record import EncodedImage, KeyObject, Record
from datasetkit.export.dataset.manifest import Manifest, Shard
from datasetkit.export.dataset.reading import iter_records, iter_shard, naming_row
from datasetkit.runtime.progress import OnProgress, counter

UNNAMED = "object"
ObjectKey = tuple[str, str | None, bool, int]
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
_IDENTITY_COLUMNS = ("image_id", "source.sha256")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and all that was recorded of it.

    Args:
        number: its place in its split, from 0.
        records: at least one; several where it has several descriptions.

    """

    number: int
    records: tuple[Record, ...]

    @property
    def image(self) -> EncodedImage:
        """The file."""
        return self.records[0].image

    @property
    def name(self) -> str:
        """File name, unique in the split: ASCII letters, digits, ``-`` and ``_``, and one dot before the ending."""
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePosixPath(self.image.name).stem)[:_LONGEST_STEM].strip("-")
        return f"{self.number:08d}{'-' if stem else ''}{stem}{picture_suffix(self.image)}"

    @property
    def objects(self) -> dict[ObjectKey, KeyObject]:
        """The objects of all records; one that several records have comes once, as the first of them has it."""
        found: dict[ObjectKey, KeyObject] = {}
        for record in self.records:
            for key, item in zip(object_keys(record), record.objects, strict=True):
                found.setdefault(key, item)
        return found


def says_more(item: KeyObject) -> bool:
    """Whether more is known of an object than mask and category: it is mentioned, or has scores, salience or a box."""
    return item != KeyObject(item.id, item.mask, item.category, is_crowd=item.is_crowd, box=item.box)


def object_keys(record: Record) -> list[ObjectKey]:
    """Tell a record's objects apart, and know them again in its picture's other records.

    A key is mask or box, category, crowd, and how many objects of the record before it are equal in these.
    """
    seen: Counter[tuple[str, str | None, bool]] = Counter()
    keys = []
    for item in record.objects:
        shape = str(item.box) if item.mask is None else item.mask.counts
        look = shape, item.category, item.is_crowd
        keys.append((*look, seen[look]))
        seen[look] += 1
    return keys


def picture_suffix(image: EncodedImage) -> str:
    """Give the ending of a picture's name, lower case; where that is none of a picture, the one of its format.

    Raises:
        RecordError: it is no picture.

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


class BuiltDataset:
    """The splits of a built folder that are exported; no ``split`` is all.

    Raises:
        BuiltFolderError: the folder holds no build, or not that split.

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

    def pictures(self, split: str) -> Iterator[Picture]:
        """Give the pictures of a split in order.

        Raises:
            DatasetkitError: a shard is not the one of the manifest, or cannot be read, or a row is no valid record.

        """
        groups = groupby(self._read(split), key=lambda record: (record.image_id, record.source.sha256))
        for number, (_, records) in enumerate(groups):
            yield Picture(number, tuple(records))

    def category_names(self) -> list[str]:
        """Give the categories of all splits, exported or not, sorted; ``object`` stands for those without one."""
        found = {
            item["category"] or UNNAMED
            for split in self._manifest.split_rows
            for row in self._rows(split, ("objects.list.element.category",))
            for item in row["objects"]
        }
        return sorted(found)

    def common_suffix(self) -> str | None:
        """Give the ending that all pictures of the exported splits share, lower case; None where there are several."""
        rows = (row for split in self.splits for row in self._rows(split, ("image.path",)))
        found = {_usual_suffix(PurePosixPath(row["image"]["path"]).suffix) for row in rows}
        return found.pop() if len(found) == 1 and found <= _KNOWN_SUFFIXES else None

    def has_number_ids(self, split: str) -> bool:
        """Whether the pictures of a split have whole numbers of their own as ids."""
        rows = self._rows(split, _IDENTITY_COLUMNS)
        texts = (key for (key, _), _ in groupby(rows, key=lambda row: (row["image_id"], row["source"]["sha256"])))
        numbers = []
        for text in texts:
            if not re.fullmatch(r"0|[1-9][0-9]{0,17}", text):
                return False
            numbers.append(int(text))
        return len(np.unique(numbers)) == len(numbers)

    def _read(self, split: str) -> Iterator[Record]:
        for path in self._shards(split):
            for where, record in iter_records(path):
                with naming_row(where):
                    picture_suffix(record.image)  # of every image, before a format names it
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
        """Compare a shard with the manifest when it is first read."""
        path = self._folder / shard.path
        if shard.path not in self._sound and path.is_file() and file_sha256(path) != shard.sha256:
            raise BuiltFolderError(
                f"{path} does not hold what the manifest says; `datasetkit verify {self._folder}` tells more. "
                "Fetch or build it again, then export"
            )
        self._sound.add(shard.path)
