"""Images with all of their records, as the formats write them. Owns their file names, and keys of their objects."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from PIL import Image

from datasetkit.core.errors import RecordError
from datasetkit.core.record import EncodedImage, KeyObject, Record

Row = Mapping[str, Any]
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
# Columns with the keys of images, and of objects.
IMAGE_COLUMNS = (
    "image.path",
    "image_id",
    "source.uri",
    "source.license",
    "source.sha256",
    "absent_categories.list.element",
    "partial_categories.list.element",
)
OBJECT_COLUMNS = tuple(
    f"objects.list.element.{name}" for name in ("mask.counts", "bbox.list.element", "category", "is_crowd", "source_id")
)


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
        """File name, see :func:`file_name`."""
        return file_name(self.number, self.image.name, image_suffix(self.image))

    @property
    def objects(self) -> dict[ObjectKey, KeyObject]:
        """The objects of all records; one that is in several records is listed once, as in the first of them."""
        found: dict[ObjectKey, KeyObject] = {}
        for record in self.records:
            for key, item in zip(object_keys(record), record.objects, strict=True):
                found.setdefault(key, item)
        return found


def file_name(number: int, name: str, suffix: str) -> str:
    """Return a file name for an image of a split that no other of these names equals.

    It has ASCII letters, digits, ``-`` and ``_``, and one dot before the extension.

    Args:
        number: number of the image in the split, from 0.
        name: its name in the dataset.
        suffix: its extension, from :func:`image_suffix`.

    """
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePosixPath(name).stem)[:_LONGEST_STEM].strip("-")
    return f"{number:08d}{'-' if stem else ''}{stem}{suffix}"


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


def object_keys_of_rows(rows: Sequence[Row]) -> dict[ObjectKey, str | None]:
    """Return the same keys for the objects in all rows of an image, with their ids in the source."""
    found: dict[ObjectKey, str | None] = {}
    for row in rows:
        looks = (
            (
                item["mask"]["counts"] if item["mask"] else item["bbox"] and tuple(item["bbox"]),
                item["category"],
                item["is_crowd"],
                item.get("source_id"),
            )
            for item in row["objects"]
        )
        pairs = zip(_numbered(looks), row["objects"], strict=True)
        found.update((key, item.get("source_id")) for key, item in pairs)
    return found


def _numbered(looks: Iterable[Hashable]) -> list[ObjectKey]:
    seen: Counter[Hashable] = Counter()
    keys = []
    for look in looks:
        keys.append((look, seen[look]))
        seen[look] += 1
    return keys


def image_key(row: Row) -> Hashable:
    """Return the fields that are equal in all rows of an image."""
    lists = (tuple(row.get(name) or ()) for name in ("absent_categories", "partial_categories"))
    return row["image"]["path"], row["image_id"], *row["source"].values(), *lists


def image_suffix(image: EncodedImage) -> str:
    """Return the lower-case extension of an image's name, or that of its format if the name has no image extension.

    Raises:
        RecordError: the bytes are not an image.

    """
    suffix = known_suffix(image.name)
    if suffix is not None:
        return suffix
    try:
        with Image.open(io.BytesIO(image.data), formats=tuple(_SUFFIXES)) as opened:
            return _SUFFIXES[str(opened.format)]
    except (OSError, KeyError):
        raise RecordError(f"image.bytes of {image.name} are not an image") from None


def known_suffix(name: str) -> str | None:
    """Return the usual lower-case extension of a name; None if it has none of those of images."""
    found = PurePosixPath(name).suffix.lower()
    suffix = {".jpeg": ".jpg", ".tiff": ".tif"}.get(found, found)
    return suffix if suffix in _KNOWN_SUFFIXES else None
