"""Folders of images and masks with the same names: ``images/a.jpg`` and ``masks/a.png``.

Known practice of sets for semantic segmentation; there is no page that defines it. Folders of splits may be above or
below (``train/images``, ``images/train``), and a mask's name may have an ending (``a_mask.png``). Values of masks are
ids, not categories, which the files do not name. A text may lie beside the image.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from posixpath import splitext
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenText
from datasetkit.core.limits import ImageLimits
from datasetkit.core.paths import files_below
from datasetkit.sources.files import IMAGE_SUFFIXES, read_image, split_of_folder
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.masks import objects_in
from datasetkit.sources.given.reader import Given, Index, Reader
from datasetkit.sources.texts import open_utf8

_IMAGES = frozenset({"image", "images", "img", "imgs"})
_MASKS = frozenset({"mask", "masks"})
_ENDING = re.compile(r"[_-]masks?$", re.IGNORECASE)


class MasksReader(Reader):
    """Reads an image per pair."""

    summary: ClassVar[str] = "folders images and masks, with files of the same names"

    def __init__(self, given: Given) -> None:
        self._place, self._encoding = given.place, given.encoding
        names = [name for name, _ in files_below(given.place, given.passed_over)]
        self._names = frozenset(names)
        self._pairs = _pairs(names)
        self.indexes: list[Index] = []

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether there are images and masks with the same names, and nothing that describes them."""
        others = look.named(".json", ".jsonl", ".xml", ".csv", ".yaml", ".parquet", ".tar")
        return not others and any(_pairs(look.names).values())

    def fingerprint(self) -> str:
        """Return a hex digest of the names and sizes of all files."""
        facts = [(name, (self._place / name).stat().st_size) for name in sorted(self._names)]
        return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()

    def handles(self) -> Iterator[str]:
        """Yield the names of the images."""
        yield from self._pairs

    def read(self, handle: Any) -> GivenImage:
        """Read the mask of one image, and the text beside it."""
        mask, text = self._pairs[handle], f"{splitext(handle)[0]}.txt"
        texts: tuple[GivenText, ...] = ()
        if text in self._names:
            with open_utf8(self._place / text, self._encoding) as file:
                texts = (GivenText(file.read().decode()),)
        objects = objects_in(read_image(self._place / mask, ImageLimits()), mask) if mask else []
        split = next((part for part in PurePosixPath(handle).parts if split_of_folder(f"{part}/x")), None)
        return GivenImage(handle, names=(handle,), texts=texts, objects=tuple(objects), split=split)


def _pairs(names: Any) -> Mapping[str, str]:
    """Return the mask of each image, by the names of both; "" for an image without one."""
    images, masks = {}, {}
    for name in names:
        stem, ending = splitext(name)
        *folders, last = stem.split("/")
        if ending.lower() not in IMAGE_SUFFIXES:
            continue
        if {*map(str.lower, folders)} & _MASKS:
            masks[_key(folders, _ENDING.sub("", last))] = name
        elif {*map(str.lower, folders)} & _IMAGES:
            images[name] = _key(folders, last)
    return {name: masks.get(key, "") for name, key in images.items()}


def _key(folders: list[str], last: str) -> tuple[str, ...]:
    return (*(part for part in folders if part.lower() not in _IMAGES | _MASKS), last)
