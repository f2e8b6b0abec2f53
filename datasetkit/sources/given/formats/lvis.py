"""LVIS v1: COCO's instances with checked negatives, and with categories that are not annotated exhaustively.

Source: lvis-dataset/lvis-api; facebookresearch/detectron2, ``detectron2/data/datasets/lvis.py``. Images have no
``file_name``: the last two parts of ``coco_url`` are the folder and the file. ``neg_category_ids`` were looked for and
not found, ``not_exhaustive_category_ids`` have objects that are not annotated. Names of categories are written like
``mouse_(computer_equipment)``, next to ``synonyms``. Descriptions come from a COCO captions file, by the ids of images.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage
from datasetkit.core.label_map import Category, LabelMap
from datasetkit.sources.coco_values import identity
from datasetkit.sources.given.coco_layout import Captions, id_of, license_of, object_of, size_of
from datasetkit.sources.given.indexed import CocoLists, Json
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader

_SENSE = re.compile(r"_*\([^()]*\)\Z")
_FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")


class LvisReader(Reader):
    """Reads an image with its objects and negatives."""

    summary: ClassVar[str] = "LVIS JSON: instances with neg_category_ids; descriptions by --captions"
    takes_captions: ClassVar[bool] = True

    def __init__(self, given: Given) -> None:
        self._lists = CocoLists(given.place, given.encoding)
        self._captions = Captions(given.captions, given.encoding)
        self.indexes = (self._lists, *self._captions.indexes)
        names = {number: str(one.get("name") or "") for number, one in self._lists.categories.items()}
        plain = {number: _plain(name) for number, name in names.items()}
        shared = Counter(plain.values())
        # Two categories of one word stay apart by their sense: "bow (weapon)", "bow (decorative ribbons)".
        self._names = {
            number: names[number].replace("_", " ") if shared[name] > 1 else name
            for number, name in plain.items()
            if name
        }
        self._synonyms = {
            self._names[number]: tuple(_plain(word) for word in one.get("synonyms") or () if isinstance(word, str))
            for number, one in self._lists.categories.items()
            if number in self._names
        }

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether images in COCO's layout state their negatives."""
        image = look.first.get("images")
        return isinstance(image, dict) and "coco_url" in image and any(name in image for name in _FEDERATED)

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the images."""
        yield from range(len(self._lists))

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its objects."""
        entry = self._lists.image(handle)
        image_id = id_of(entry)
        objects = tuple(
            object_of(one, self._names.get(identity(one.get("category_id")))) for one in self._lists.annotations(handle)
        )
        present = {item.category for item in objects}
        absent, partial = (self._named(entry, name) for name in _FEDERATED)
        return GivenImage(
            image_id,
            names=_file_names(entry),
            size_wh=size_of(entry),
            texts=self._captions.of(image_id),
            objects=objects,
            absent=tuple(name for name in absent if name not in present),
            partial=partial,
            synonyms={name: self._synonyms[name] for name in (*present, *absent, *partial) if name is not None},
            is_searched=True,
            license=license_of(self._lists, entry.get("license")),
            uri=entry.get("coco_url"),
        )

    def _named(self, entry: Json, key: str) -> tuple[str, ...]:
        found = (self._names.get(identity(number)) for number in entry.get(key) or ())
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def label_map(self) -> LabelMap:
        """Return the file's categories, by the names that objects have."""
        return tuple(
            Category(one["id"], self._names[number])
            for number, one in self._lists.categories.items()
            if number in self._names
        )


def _plain(name: str) -> str:
    """Return a name without its sense and without underscores."""
    return _SENSE.sub("", name).replace("_", " ").strip()


def _file_names(entry: Json) -> tuple[str, ...]:
    stated = [entry[key] for key in ("coco_url", "file_name") if isinstance(entry.get(key), str) and entry[key].strip()]
    found = ["/".join(PurePosixPath(name).parts[-2:]) if "://" in name else name for name in stated]
    return tuple(dict.fromkeys(name for long in found for name in (long, PurePosixPath(long).name)))
