"""GranD-f, on which GLaMM is tuned: captions with masks (the layouts of its HA and OpenPSG files, and of RefCOCOg's).

Source: mbzuai-oryx/groundingLMM, ``dataset/gcg_datasets/GranDf_gcg_ds.py``. The file is a list; spans count in the
caption after blanks and quotes around it are taken off. A mask that comes with two phrases is one object. There is no
category. The file of RefCOCOg has ``refs`` with a ``sentence`` and a ``segmentation``, and no spans: sentences are
found in the caption.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText
from datasetkit.core.record import Linker
from datasetkit.sources.coco_values import spelled
from datasetkit.sources.given.collected import Collected
from datasetkit.sources.given.indexed import JsonList
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader

_LAYOUTS = (frozenset({"caption", "groundings"}), frozenset({"caption", "refs", "img_file_name"}))


class GrandReader(Reader):
    """Reads an element per caption."""

    summary: ClassVar[str] = "GranD-f JSON: a list of captions with groundings (rle_masks) or refs (segmentation)"

    def __init__(self, given: Given) -> None:
        self._list = JsonList(given.place, encoding=given.encoding)
        self.indexes = (self._list,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file is a list of captions with groundings, or with refs."""
        element = look.first.get("")
        return isinstance(element, dict) and any(keys <= element.keys() for keys in _LAYOUTS)

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the elements."""
        yield from range(len(self._list))

    def read(self, handle: Any) -> GivenImage:
        """Read one caption with its masks."""
        element = self._list[handle]
        objects = Collected()
        phrases = []
        for words, grounding in element.get("groundings", {}).items():
            start, end = grounding["token_positives"]
            keys = tuple(objects.add(GivenObject("", mask=mask)) for mask in grounding["rle_masks"])
            phrases.append(GivenPhrase(keys, start, end, words))
        for ref in element.get("refs", ()):
            key = objects.add(GivenObject("", mask=ref["segmentation"]))
            phrases.append(GivenPhrase((key,), text=ref["sentence"]))
        name = element["file_name"] if "file_name" in element else element["img_file_name"]
        image_id = spelled(element.get("image_id")) or name
        return GivenImage(
            image_id,
            entry=f"{image_id}/{handle}",
            names=(name,),
            texts=(GivenText(element["caption"].strip('" \n'), phrases=tuple(phrases)),),
            objects=objects.found,
            links=Linker.HUMAN,
        )
