"""COCO panoptic: one PNG per image whose colours are segment ids; with captions of COCONut-PanCap.

Source: cocodataset/panopticapi, ``panopticapi/utils.py``; cocodataset.org, format of panoptic data. The id of a segment
is R + 256 G + 65536 B, 0 is void; a PNG of one channel has the ids themselves. The PNGs are in a folder named as the
JSON, next to it. Things and stuff are objects. COCONut-PanCap (xdeng77/coconut_pancap; bytedance/coconut_cvpr2024) adds
``NAME_captions/ID.txt``, where ``<1, 2: words>`` links words to segments; some files have ``<0>words>``, whose numbers
are one less. ``--captions`` may also be a COCO captions file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.decoding import decode
from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText, NoLink
from datasetkit.core.label_map import LabelMap
from datasetkit.core.limits import ImageLimits
from datasetkit.core.mask import BoolArray
from datasetkit.core.paths import Place
from datasetkit.core.record import Linker
from datasetkit.sources.coco_values import is_crowd, read_box, whole
from datasetkit.sources.given.coco_layout import Captions, category_name, id_of, label_map_of, license_of, size_of
from datasetkit.sources.given.indexed import CocoLists, Files, Json, names_below
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import Given, Reader
from datasetkit.sources.names import FolderNames
from datasetkit.sources.texts import decoded

_MARK = re.compile(r"<\s*(?P<numbers>\d+(?:\s*,\s*\d+)*)\s*(?P<sign>[:>])\s*(?P<words>[^<>]*)>")
_REMEMBERED = 4


class PanopticReader(Reader):
    """Reads an image with its segments."""

    summary: ClassVar[str] = "COCO panoptic JSON with its folder of PNGs; captions of COCONut-PanCap"
    takes_captions: ClassVar[bool] = True

    def __init__(self, given: Given) -> None:
        self._lists = CocoLists(given.place, given.encoding)
        beside, stem = folder_of(given.place), PurePosixPath(given.place.name).name.partition(".")[0]
        self._pngs = FolderNames(_folder_of_pngs(beside, stem))
        captions = beside / f"{stem}_captions" if given.captions is None else given.captions
        self._marked = Files(captions, names_below(captions, ".txt")) if captions.is_dir() else None
        self._captions = Captions(None if self._marked else given.captions, given.encoding)
        self._marked_names = frozenset(() if self._marked is None else self._marked.names)
        marked = () if self._marked is None else (self._marked,)
        self.indexes = (self._lists, *self._captions.indexes, *marked)
        self._ids = lru_cache(_REMEMBERED)(self._decoded)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether annotations in COCO's layout list segments."""
        annotation = look.first.get("annotations")
        return isinstance(annotation, dict) and "segments_info" in annotation

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the images."""
        yield from range(len(self._lists))

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its segments."""
        entry = self._lists.image(handle)
        image_id = id_of(entry)
        segments = [
            self._object(segment, annotation["file_name"])
            for annotation in self._lists.annotations(handle)
            for segment in annotation["segments_info"]
        ]
        marked = self._marked_text(PurePosixPath(entry["file_name"]).stem, {item.key for item in segments})
        return GivenImage(
            image_id,
            names=(entry["file_name"],),
            size_wh=size_of(entry),
            texts=self._captions.of(image_id) if marked is None else (marked,),
            objects=tuple(segments),
            links=None if marked is None else Linker.HUMAN,
            is_searched=True,
            license=license_of(self._lists, entry.get("license")),
        )

    def _object(self, segment: Json, png: str) -> GivenObject:
        number = whole(segment["id"])
        if number is None:
            raise ValueError(f"the id of a segment is {segment['id']!r}")
        return GivenObject(
            str(number),
            category_name(self._lists, segment.get("category_id")),
            read_box(segment.get("bbox")),
            partial(self._mask, png, number),
            is_crowd=is_crowd(segment.get("iscrowd")),
        )

    def _mask(self, png: str, number: int) -> BoolArray:
        found: BoolArray = self._ids(png) == number
        return found

    def _decoded(self, png: str) -> NDArray[np.int64]:
        """Return the segment ids of a PNG, shape (H, W)."""
        limits = ImageLimits()
        file, data = self._pngs.read(png, limits)
        image = decode(data, file.name, limits).image
        if image.mode not in {"RGB", "RGBA"}:
            return np.asarray(image).astype(np.int64)
        colours = np.asarray(image)[:, :, :3].astype(np.int64)
        return colours @ np.array([1, 256, 65536])

    def _marked_text(self, stem: str, keys: Collection[str]) -> GivenText | None:
        name = f"{stem}.txt"
        if self._marked is None or name not in self._marked_names:
            return None
        return unmarked(decoded(self._marked.read(name), name), keys)

    def label_map(self) -> LabelMap:
        """Return the file's categories."""
        return label_map_of(self._lists)


def unmarked(marked: str, keys: Collection[str]) -> GivenText:
    """Return a caption without its marks, with a phrase for each of them.

    Args:
        marked: the caption, such as ``<1: A dog> and <2, 3: two cats>``.
        keys: of the segments of the image; numbers beside them are noise.

    """
    text, at = "", 0
    phrases = []
    for found in _MARK.finditer(marked):
        text += marked[at : found.start()]
        start, words = len(text), found["words"].strip()
        text += words
        at = found.end()
        numbers = [int(number) + (found["sign"] == ">") for number in found["numbers"].split(",")]
        linked = tuple(dict.fromkeys(str(number) for number in numbers if number and str(number) in keys))
        if words:
            phrases.append(GivenPhrase(linked, start, len(text), words, reason=None if linked else NoLink.NO_BOX))
    return GivenText(text + marked[at:], phrases=tuple(phrases))


def _folder_of_pngs(beside: Place, stem: str) -> Place:
    tried: Sequence[Place] = [beside / stem, beside / f"{stem}_masks"]
    found = next((folder for folder in tried if folder.is_dir()), None)
    if found is None:
        raise SourceError(f"{tried[0]} is not a folder; put the PNGs with the segments there, next to the JSON")
    return found
