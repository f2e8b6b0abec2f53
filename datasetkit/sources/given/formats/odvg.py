"""ODVG: JSON lines with a caption and the boxes of its phrases, or with boxes and labels.

Source: longzw1997/Open-GroundingDino, ``data_format.md`` and ``datasets/odvg.py``. Boxes are corners, px. Phrases have
no spans; they are found in the caption. Equal boxes are one object, equal phrases one phrase of several objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText
from datasetkit.core.record import Linker
from datasetkit.sources.given.coco_layout import size_of
from datasetkit.sources.given.collected import Collected, corners
from datasetkit.sources.given.indexed import JsonLines
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader


class OdvgReader(Reader):
    """Reads a line per image."""

    summary: ClassVar[str] = "ODVG JSON lines: grounding (caption, regions) or detection (instances)"

    def __init__(self, given: Given) -> None:
        self._lines = JsonLines(given.place, given.encoding)
        self.indexes = (self._lines,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the first line has a file name with a grounding or a detection."""
        line = look.first_line
        return isinstance(line, dict) and "filename" in line and bool({"grounding", "detection"} & line.keys())

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the lines."""
        yield from range(len(self._lines))

    def read(self, handle: Any) -> GivenImage:
        """Read one line."""
        line = self._lines[handle]
        name = line["filename"]
        objects = Collected()
        texts: tuple[GivenText, ...] = ()
        for instance in line.get("detection", {}).get("instances", ()):
            objects.add(GivenObject("", instance.get("category"), corners(*instance["bbox"])))
        if grounding := line.get("grounding"):
            phrases = []
            for region in grounding["regions"]:
                words = region["phrase"]
                key = objects.add(GivenObject("", None, corners(*region["bbox"])))
                several = words if isinstance(words, list) else [words]
                phrases += [GivenPhrase((key,), text=one) for one in several]
            texts = (GivenText(grounding["caption"], phrases=tuple(phrases)),)
        return GivenImage(
            name,
            entry=f"{name}/{handle}" if texts else None,
            names=(name,),
            size_wh=size_of(line),
            texts=texts,
            objects=objects.found,
            links=Linker.HUMAN if texts else None,
        )
