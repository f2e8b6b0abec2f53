"""Flickr30k Entities: sentences whose phrases name chains of boxes.

Source: BryanPlummer/flickr30k_entities, README and ``flickr30k_entities_utils.py``. ``Sentences/ID.txt`` has a sentence
per line with ``[/EN#CHAIN/TYPE words]``; ``Annotations/ID.xml`` has objects with one or more chains, and boxes that
count from 1, both ends inclusive. Chain 0 is not visual; a chain may be the scene, or have no box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar

from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText, NoLink
from datasetkit.core.record import Linker
from datasetkit.sources.given.collected import Collected, corners
from datasetkit.sources.given.indexed import Files, names_below
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader
from datasetkit.sources.given.xml import parse_xml
from datasetkit.sources.texts import decoded

_SENTENCES, _ANNOTATIONS, _UNRELATED = "Sentences", "Annotations", "UNRELATED_CAPTIONS"
_ENTITY = re.compile(r"\[/EN#(?P<chain>\d+)(?:/[^\s\]]+)? (?P<words>[^\]]*)\]")
_LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
_FOLDERS = (f"{_SENTENCES}/", f"{_ANNOTATIONS}/")
_FILES = frozenset({*_LISTS.values(), _UNRELATED})


class EntitiesReader(Reader):
    """Reads an image with its sentences."""

    summary: ClassVar[str] = "Flickr30k Entities: the folders Sentences and Annotations"

    def __init__(self, given: Given) -> None:
        names = [name for name in names_below(given.place) if name.startswith(_FOLDERS) or name in _FILES]
        self._files, self._known = Files(given.place, names), frozenset(names)
        self.indexes = (self._files,)
        sentences = (PurePosixPath(name) for name in names if name.startswith(_FOLDERS[0]))
        self._ids = [path.stem for path in sentences if path.suffix == ".txt"]
        if not self._ids:
            raise SourceError(f"{given.place / _SENTENCES} holds no sentences")
        self._unrelated = self._read_unrelated()
        self._splits = {one: split for split, name in _LISTS.items() for one in self._text(name, missing="").split()}

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether a folder has the two folders, and a sentence with an entity."""
        sentences = [name for name in look.named(".txt") if name.startswith(f"{_SENTENCES}/")]
        has_boxes = any(name.startswith(f"{_ANNOTATIONS}/") for name in look.named(".xml"))
        return has_boxes and any(b"[/EN#" in look.at(name).start for name in sentences[:10])

    def handles(self) -> Iterator[str]:
        """Yield the ids of the images."""
        yield from self._ids

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its sentences."""
        objects, chains, reasons = self._boxes(handle)
        lines = self._text(f"{_SENTENCES}/{handle}.txt").splitlines()
        texts = tuple(
            _sentence(line, str(number), chains, reasons)
            for number, line in enumerate(lines)
            if line.strip() and (handle, number + 1) not in self._unrelated
        )
        return GivenImage(
            handle,
            names=(f"flickr30k-images/{handle}.jpg", f"flickr30k_images/{handle}.jpg", f"{handle}.jpg"),
            texts=texts,
            objects=objects.found,
            links=Linker.HUMAN,
            split=self._splits.get(handle),
        )

    def _boxes(self, image_id: str) -> tuple[Collected, Mapping[str, list[str]], Mapping[str, NoLink]]:
        """Return the objects, their keys by chain, and why chains have none."""
        objects = Collected()
        chains: dict[str, list[str]] = {}
        reasons: dict[str, NoLink] = {"0": NoLink.NOT_VISUAL}
        for element in parse_xml(self._files.read(f"{_ANNOTATIONS}/{image_id}.xml")).iter("object"):
            names = [name.text.strip() for name in element.iter("name") if name.text]
            box = element.find("bndbox")
            if box is None:
                is_scene = (element.findtext("scene") or "").strip() == "1"
                reasons.update(dict.fromkeys(names, NoLink.SCENE if is_scene else NoLink.NO_BOX))
                continue
            left, top, right, bottom = (float(box.findtext(side) or "nan") for side in ("xmin", "ymin", "xmax", "ymax"))
            key = objects.add(GivenObject("", box_xywh=corners(left - 1, top - 1, right, bottom)))
            for name in names:
                chains.setdefault(name, []).append(key)
        return objects, chains, reasons

    def _read_unrelated(self) -> frozenset[tuple[str, int]]:
        """Return the sentences that belong to another image: its id, and their number from 1."""
        lines = (line.split() for line in self._text(_UNRELATED, missing="").splitlines() if not line.startswith("#"))
        return frozenset((parts[0], int(parts[1])) for parts in lines if len(parts) == 2)

    def _text(self, name: str, missing: str | None = None) -> str:
        return missing if missing is not None and name not in self._known else decoded(self._files.read(name), name)


def _sentence(line: str, number: str, chains: Mapping[str, list[str]], reasons: Mapping[str, NoLink]) -> GivenText:
    """Return a sentence without its marks, with a phrase for each of them."""
    text, at = "", 0
    phrases = []
    for found in _ENTITY.finditer(line):
        text += line[at : found.start()]
        keys, reason = chains.get(found["chain"], []), reasons.get(found["chain"], NoLink.NO_BOX)
        span = len(text), len(text) + len(found["words"])
        phrases.append(GivenPhrase(tuple(keys), *span, found["words"], reason=None if keys else reason))
        text += found["words"]
        at = found.end()
    return GivenText(text + line[at:], number, tuple(phrases))
