"""Pascal VOC: an XML file of boxes per image, with masks in PNG files and lists of splits.

Source: the development kit of Pascal VOC 2012; docs.cvat.ai, format-voc. Boxes count from 1, both ends inclusive, and
may be no whole numbers. Annotation tools write the same tags from 0 with an exclusive end, which an xmin or ymin below
1 anywhere in the folder proves. Index k of ``SegmentationObject`` is the k-th object of the XML, 255 is void; tools
write the palette's colours instead of its indices. A ``part`` is no object.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import Any, ClassVar
from xml.etree.ElementTree import Element

import numpy as np

from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenImage, GivenObject
from datasetkit.core.mask import BoolArray, Box
from datasetkit.core.paths import leads_out
from datasetkit.sources.coco_values import spelled, whole
from datasetkit.sources.files import split_of_value
from datasetkit.sources.given.collected import corners
from datasetkit.sources.given.drawn import read_mask
from datasetkit.sources.given.indexed import Files, names_below
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import BROKEN, Given, Reader
from datasetkit.sources.given.xml import parse_xml
from datasetkit.sources.texts import decoded

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_ANNOTATIONS, _IMAGES, _MASKS, _LISTS = "Annotations", "JPEGImages", "SegmentationObject", "ImageSets"
_SPLITS = frozenset({"train", "validation", "test"})  # trainval unites two; box_train lists those with a box
_LOOKED_AT = 10
_VOID = 255


class VocReader(Reader):
    """Reads a file per image."""

    summary: ClassVar[str] = "Pascal VOC: XML files with bndbox, masks in SegmentationObject, lists in ImageSets"

    def __init__(self, given: Given) -> None:
        folder = folder_of(given.place)
        self._files = Files(folder, names_below(folder, ".xml") if given.place.is_dir() else [given.place.name])
        if not self._files.names:
            raise SourceError(f"{given.place} holds no XML file")
        parts = [(name, PurePosixPath(name).parts) for name in names_below(folder, ".png", ".txt")]
        self._masks = Files(folder, [name for name, part in parts if _MASKS in part[-2:-1]])
        self._mask_names = frozenset(self._masks.names)
        lists = Files(folder, [name for name, part in parts if _LISTS in part[-3:-2] and part[-2] != "Layout"])
        self.indexes = (self._files, self._masks, lists)
        self._splits: dict[tuple[str, str], str] = {}
        for name in lists.names:  # Main comes before Segmentation
            split = split_of_value(PurePosixPath(name).stem)
            if split in _SPLITS:
                top = PurePosixPath(name).parents[2]
                lines = decoded(lists.read(name), name).splitlines()
                for image_id in (line.strip().strip('"') for line in lines):
                    self._splits.setdefault((top.as_posix(), image_id), split)
        self._first = 1
        for name in self._files.names:
            with suppress(*BROKEN):
                found = [_sides(element) for element in parse_xml(self._files.read(name)).iter("object")]
                if any(sides is not None and 0 <= min(sides[:2]) < 1 for sides in found):
                    self._first = 0
                    break

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file, or one of the first XML files of the folder, has boxes, and no chains of words."""
        looks = [look.at(name) for name in look.named(".xml")[:_LOOKED_AT]] if look.is_folder else [look]
        has_sentences = any(name.startswith("Sentences/") for name in look.named(".txt"))
        return not has_sentences and any(one.root_tag == "annotation" and b"<bndbox" in one.start for one in looks)

    def handles(self) -> Iterator[str]:
        """Yield the names of the files."""
        yield from self._files.names

    def read(self, handle: Any) -> GivenImage:
        """Read one file."""
        root = parse_xml(self._files.read(handle))
        if root.tag != "annotation":
            raise ValueError(f"its first tag is <{root.tag}>, not <annotation>")
        path = PurePosixPath(handle)
        is_in_kit = path.parent.name == _ANNOTATIONS
        top = path.parent.parent if is_in_kit else path.parent
        stem = path.stem
        stated = PurePosixPath((root.findtext("filename") or "").strip().replace("\\", "/")).name
        folders = (top / _IMAGES, top / "images", path.parent)
        names = [(folder / name).as_posix() for folder in folders for name in (stated, stem) if name]
        masks = (top / _MASKS / f"{stem}.png").as_posix()
        has_masks = masks in self._mask_names
        return GivenImage(
            path.with_suffix("").as_posix() if top.name or not is_in_kit else stem,
            names=tuple(name for name in names if not leads_out(name)),
            size_wh=(whole(root.findtext("size/width")), whole(root.findtext("size/height"))),
            objects=tuple(
                GivenObject(
                    str(number),
                    spelled(element.findtext("name")),
                    self._box(element),
                    partial(self._mask, masks, number + 1) if has_masks and number + 1 < _VOID else None,
                )
                for number, element in enumerate(root.findall("object"))
            ),
            split=self._splits.get((top.as_posix(), stem)),
        )

    def _box(self, element: Element) -> Box | None:
        sides = _sides(element)
        if sides is None:
            return None
        return corners(sides[0] - self._first, sides[1] - self._first, sides[2], sides[3])

    def _mask(self, name: str, index: int) -> BoolArray:
        found = read_mask(self._masks.read(name))
        if found.ndim == 3:
            found = _indices(found)
        return np.asarray(found == index)


def _sides(element: Element) -> tuple[float, float, float, float] | None:
    """Return the sides of an object's own box, not of those of its parts."""
    left, top, right, bottom = (element.findtext(f"bndbox/{side}") for side in _SIDES)
    if left is None or top is None or right is None or bottom is None:
        return None
    return float(left), float(top), float(right), float(bottom)


def _indices(colours: np.ndarray) -> np.ndarray:
    """Return the indices of the palette's colours, shape (H, W): bits go to red, green and blue in turn."""
    found = np.zeros(colours.shape[:2], np.uint8)
    for bit in range(8):
        found |= ((colours[:, :, bit % 3] >> (7 - bit // 3)) & 1) << bit
    return found
