"""MDETR and GoldG: COCO's layout with one entry of ``images`` per caption, and spans in ``tokens_positive``.

Source: ashkamath/mdetr, ``scripts/pre-training/flickr_combined.py`` and ``datasets/coco.py``. Spans count characters,
the end exclusive. The only category says nothing. The boxes of Flickr30k in these files are one pixel off, since they
were taken over from XML that counts from 1; the files do not show it. GranD-f's files of Flickr30k have masks, in
``sam_mask``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText
from datasetkit.core.record import Linker
from datasetkit.sources.coco_values import is_crowd, read_box, spelled
from datasetkit.sources.given.coco_layout import size_of
from datasetkit.sources.given.indexed import CocoLists
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader


class MdetrReader(Reader):
    """Reads captions with the boxes that their words name."""

    summary: ClassVar[str] = "MDETR and GoldG JSON: a caption per image entry, boxes with tokens_positive"

    def __init__(self, given: Given) -> None:
        self._lists = CocoLists(given.place, given.encoding)
        self.indexes = (self._lists,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the first image has a caption, and the first annotation spans."""
        image, annotation = look.first.get("images"), look.first.get("annotations")
        has_caption = isinstance(image, dict) and "caption" in image
        return has_caption and (annotation is None or "tokens_positive" in annotation)

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the entries."""
        yield from range(len(self._lists))

    def read(self, handle: Any) -> GivenImage:
        """Read one caption with its boxes."""
        entry = self._lists.image(handle)
        objects: list[GivenObject] = []
        phrases: list[GivenPhrase] = []
        for number, annotation in enumerate(self._lists.annotations(handle)):
            key = str(number)
            objects.append(
                GivenObject(
                    key,
                    box_xywh=read_box(annotation["bbox"]),
                    mask=annotation.get("sam_mask") or annotation.get("segmentation") or None,
                    is_crowd=is_crowd(annotation.get("iscrowd")),
                    source_id=spelled(annotation["id"]),
                )
            )
            phrases += [GivenPhrase((key,), start, end) for start, end in annotation["tokens_positive"]]
        image_id = spelled(entry.get("original_img_id")) or spelled(entry["id"]) or ""
        return GivenImage(
            image_id,
            entry=f"{image_id}/{spelled(entry['id'])}",
            names=(entry["file_name"],),
            size_wh=size_of(entry),
            texts=(GivenText(entry["caption"], phrases=tuple(phrases)),),
            objects=tuple(objects),
            links=Linker.HUMAN,
        )
