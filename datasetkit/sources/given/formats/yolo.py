"""YOLO: a YAML file with names of classes and folders of images, and a text file of boxes or polygons per image.

Source: ultralytics/ultralytics, ``docs/en/datasets/segment/index.md``, ``ultralytics/data/utils.py``. Numbers are
shares of the sides. A row of five numbers is a box (class, middle, size), a longer one a polygon (class, points); note
that Ultralytics itself takes five numbers for two points where a row of the same file is longer. Label files are in
``labels`` where the images are in ``images``; without such a file an image has no objects. Folders in the YAML may be
those of another computer: the longest end that exists below the YAML's own folder is meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

from datasetkit.core.documents import DocumentError, load_yaml
from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenImage, GivenObject
from datasetkit.core.label_map import Category, LabelMap
from datasetkit.core.record import Maker, Scores
from datasetkit.sources.coco_values import spelled, whole
from datasetkit.sources.files import IMAGE_SUFFIXES
from datasetkit.sources.given.indexed import Files, names_below
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import Given, Reader
from datasetkit.sources.texts import decoded

_YAML = (".yaml", ".yml")
_SPLITS = ("train", "val", "valid", "validation", "test")
_BOX = 5  # numbers: class, middle, width and height


class YoloReader(Reader):
    """Reads an image with its label file."""

    summary: ClassVar[str] = "YOLO: data.yaml with names, and label files with boxes (5 numbers a row) or polygons"

    def __init__(self, given: Given) -> None:
        found = [look for look in _looks(Look(given.place, given.encoding)) if _settings(look)]
        if len(found) != 1:
            raise SourceError(f"{given.place} has {len(found)} YAML files of YOLO; give one of them as PATH")
        settings = _settings(found[0])
        self._names = _class_names(settings.get("names"))
        self._has_keypoints = bool(settings.get("kpt_shape"))
        self._folder = folder_of(given.place)
        everything = names_below(self._folder)
        self._images = [name for name in everything if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
        texts = Files(self._folder, [name for name in everything if name.lower().endswith(".txt")])
        self._texts = texts
        self._known = frozenset(texts.names)
        self._splits = self._find(settings)
        self.indexes = (Files(self._folder, [found[0].place.name]), texts)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file, or one at the top of the folder, is YAML with names of classes and splits."""
        return any(_settings(one) for one in _looks(look))

    def handles(self) -> Iterator[str]:
        """Yield the names of the images."""
        yield from self._splits

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its label file."""
        labels = _labels_of(handle)
        text = decoded(self._texts.read(labels), labels) if labels in self._known else ""
        rows = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
        return GivenImage(
            handle,
            names=(handle,),
            are_shares=True,
            objects=tuple(self._object(str(number), row.split()) for number, row in enumerate(rows)),
            split=self._splits[handle],
        )

    def _object(self, key: str, cells: Sequence[str]) -> GivenObject:
        """Return the object of one row; a row that is not of numbers has neither a box nor a mask, and is dropped."""
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            return GivenObject(key)
        category = self._names.get(int(numbers[0])) if math.isfinite(numbers[0]) else None
        shape = numbers[1:]
        if len(numbers) > _BOX + 1 and not self._has_keypoints:
            return GivenObject(key, category, mask=[shape])
        if len(numbers) < _BOX:
            return GivenObject(key, category)
        x, y, width, height = shape[:4]
        box = (x - width / 2, y - height / 2, width, height)
        score = shape[4] if len(numbers) == _BOX + 1 else None
        maker = Maker.HUMAN if score is None else Maker.MODEL
        return GivenObject(key, category, box, scores=Scores(detection=score), maker=maker)

    def _find(self, settings: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the images of all splits, with the split of each."""
        found: dict[str, str] = {}
        root = settings.get("path")
        for split in _SPLITS:
            stated = settings.get(split)
            for one in stated if isinstance(stated, list) else [stated]:
                if isinstance(one, str) and one.strip():
                    for name in self._members(f"{root}/{one}" if isinstance(root, str) else one):
                        found.setdefault(name, split)
        if not found:
            raise SourceError(
                f"{self._folder} has none of the folders that the YAML file names as {', '.join(_SPLITS)}"
            )
        return found

    def _members(self, stated: str) -> Sequence[str]:
        """Return the images of a folder, or of a list of images, by the longest end of its path that exists."""
        for end in _ends(stated):
            if end in self._known:
                lines = decoded(self._texts.read(end), end).splitlines()
                images = frozenset(self._images)
                places = [_ends(f"{PurePosixPath(end).parent}/{line.strip()}") for line in lines if line.strip()]
                return [next((one for one in ends if one in images), ends[-1]) for ends in places if ends]
            below = f"{end}/"
            images_inside = [name for name in self._images if name.startswith(below)]
            labelled = {_labels_of(name) for name in images_inside}
            labels = _labels_of(f"{below}x.txt").removesuffix("x.txt")
            alone = [name for name in self._texts.names if name.startswith(labels) and name not in labelled]
            if images_inside or (alone and labels != below):
                return images_inside + [below + name.removeprefix(labels).removesuffix(".txt") for name in alone]
        return ()

    def label_map(self) -> LabelMap:
        """Return the classes."""
        return tuple(Category(number, name) for number, name in sorted(self._names.items()))


def _looks(look: Look) -> list[Look]:
    return [one for one in look.files() if one.place.name.lower().endswith(_YAML)]


def _settings(look: Look) -> Mapping[str, Any]:
    """Return what a YAML file of YOLO states; nothing for another file."""
    try:
        found = load_yaml(look.start)
    except DocumentError:
        return {}
    is_yolo = isinstance(found, dict) and ("names" in found or "nc" in found) and not found.keys().isdisjoint(_SPLITS)
    return found if is_yolo else {}


def _class_names(names: object) -> dict[int, str]:
    """Return the names by number, from a list or a mapping."""
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
    found = {whole(number): spelled(name) for number, name in pairs}
    return {number: name for number, name in found.items() if number is not None and name is not None}


def _ends(path: str) -> list[str]:
    """Return a path below the folder, and its ends, longest first."""
    parts = [part for part in PurePosixPath(path.strip().replace("\\", "/")).parts if part not in ("..", "/")]
    return ["/".join(parts[first:]) for first in range(len(parts))]


def _labels_of(image: str) -> str:
    """Return the name of an image's label file: the last folder ``images`` becomes ``labels``."""
    before, images, after = f"/{image}".rpartition("/images/")
    name = f"{before}/labels/{after}" if images else image
    return PurePosixPath(name.lstrip("/")).with_suffix(".txt").as_posix()
