"""Visual Genome's regions: a text for each box of an image.

Source: visualgenome.org, readme; ranjaykrishna/visual_genome. A region becomes a record of its own, whose whole text
names its box. ``image_data.json`` tells in which of two folders an image is. Version 1.2 calls the image's id ``id``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, ClassVar
from urllib.parse import urlsplit

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText
from datasetkit.core.ledger import DropReason
from datasetkit.core.record import Linker
from datasetkit.sources.coco_values import whole
from datasetkit.sources.given.coco_layout import size_of
from datasetkit.sources.given.indexed import Json, JsonList
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import Given, Reader

_IMAGES = "image_data.json"
_END = re.compile(r"[\s.,;!]*$")


class RegionsReader(Reader):
    """Reads a record per region."""

    summary: ClassVar[str] = "Visual Genome region_descriptions.json, with image_data.json beside it"

    def __init__(self, given: Given) -> None:
        found = [look for look in Look(given.place, given.encoding).files() if _has_regions(look)]
        if len(found) != 1:
            raise SourceError(f"{given.place} has {len(found)} files with regions; give one of them as PATH")
        self._regions = JsonList(found[0].place, encoding=given.encoding)
        self.indexes: tuple[JsonList, ...] = (self._regions,)
        self._images: JsonList | None = None
        self._numbers: dict[int, int] = {}
        images = folder_of(given.place) / _IMAGES
        if images.is_file():
            self._images = JsonList(images, encoding=given.encoding)
            self.indexes += (self._images,)
            self._numbers = {int(self._images[number]["image_id"]): number for number in range(len(self._images))}
        self._counts = array("i", (len(self._regions[number]["regions"]) for number in range(len(self._regions))))

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file, or one file of the folder, is a list of regions."""
        return any(_has_regions(one) for one in look.files())

    def handles(self) -> Iterator[tuple[int, int]]:
        """Yield the numbers of element and region."""
        for number, count in enumerate(self._counts):
            for region in range(count):
                yield number, region

    def read(self, handle: Any) -> GivenImage:
        """Read one region."""
        number, place = handle
        element = self._regions[number]
        region = element["regions"][place]
        image_id = whole(element.get("image_id", element.get("id")))
        known = self._image(image_id)
        box = tuple(float(region[side]) for side in ("x", "y", "width", "height"))
        if min(box[2:]) <= 0:
            raise UnusableError(DropReason.BAD_BOX, f"the box {box} of region {region['region_id']} has no area")
        text = region["phrase"]
        end = _END.search(text.rstrip()) if text.strip() else None
        phrase = GivenPhrase(("0",), 0, end.start() if end else len(text))
        url = known.get("url")
        parts = PurePosixPath(urlsplit(url).path).parts[-2:] if isinstance(url, str) else ()
        return GivenImage(
            str(image_id),
            entry=f"{image_id}/{region['region_id']}",
            names=(*(("/".join(parts),) if parts else ()), f"{image_id}.jpg"),
            size_wh=size_of(known),
            texts=(GivenText(text, phrases=(phrase,)),),
            objects=(GivenObject("0", box_xywh=(box[0], box[1], box[2], box[3]), source_id=str(region["region_id"])),),
            links=Linker.HUMAN,
            uri=url,
        )

    def _image(self, image_id: int | None) -> Json:
        if self._images is None or image_id not in self._numbers:
            return {}
        found: Json = self._images[self._numbers[image_id]]
        return found


def _has_regions(look: Look) -> bool:
    element = look.first.get("")
    return isinstance(element, dict) and isinstance(element.get("regions"), list) and "groundings" not in element
