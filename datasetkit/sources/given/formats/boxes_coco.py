"""COCO's layout with boxes and no segmentation, as Objects365 has it.

Source: Objects365 v2, as Ultralytics' ``cfg/datasets/Objects365.yaml`` reads it. File names begin with folders that
downloads do not have (``images/v1/patch0/NAME.jpg``), so files are found by the longest common end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage
from datasetkit.core.label_map import LabelMap
from datasetkit.sources.given.coco_layout import (
    category_name,
    id_of,
    label_map_of,
    license_of,
    object_of,
    own_annotation,
    size_of,
)
from datasetkit.sources.given.indexed import CocoLists
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader


class BoxesReader(Reader):
    """Reads boxes with categories."""

    summary: ClassVar[str] = "COCO JSON with boxes and no masks, such as Objects365"

    def __init__(self, given: Given) -> None:
        self._lists = CocoLists(given.place, given.encoding)
        self.indexes = (self._lists,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether there are images and boxes in COCO's layout, but neither masks nor texts."""
        found = own_annotation(look)
        return found is not None and "bbox" in found and "caption" not in found and not found.get("segmentation")

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the images."""
        yield from range(len(self._lists))

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its boxes."""
        entry = self._lists.image(handle)
        return GivenImage(
            id_of(entry),
            names=(entry["file_name"],),
            size_wh=size_of(entry),
            objects=tuple(
                object_of(one, category_name(self._lists, one.get("category_id")))
                for one in self._lists.annotations(handle)
            ),
            is_searched=True,
            license=license_of(self._lists, entry.get("license")),
        )

    def label_map(self) -> LabelMap:
        """Return the file's categories."""
        return label_map_of(self._lists)
