"""COCO's layout with boxes and no segmentation, as Objects365 has it.

Source: Objects365 v2, as Ultralytics' ``cfg/datasets/Objects365.yaml`` reads it. File names begin with folders that
downloads do not have (``images/v1/patch0/NAME.jpg``), so files are found by the longest common end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenObject
from datasetkit.core.label_map import Category, LabelMap
from datasetkit.core.record import Maker, Scores
from datasetkit.sources.coco_values import identity, is_crowd, read_box, spelled, whole
from datasetkit.sources.given.indexed import CocoLists, Json
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
        image, annotation = look.first.get("images"), look.first.get("annotations")
        return (
            isinstance(image, dict)
            and isinstance(annotation, dict)
            and "bbox" in annotation
            and not annotation.get("segmentation")
            and not {"tokens_positive", "segments_info", "caption"} & annotation.keys()
            and not {"caption", "sentences"} & image.keys()
        )

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the images."""
        yield from range(len(self._lists))

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its boxes."""
        entry = self._lists.image(handle)
        image_id = spelled(entry["id"])
        if image_id is None:
            raise ValueError("the image has no id")
        return GivenImage(
            image_id,
            names=(entry["file_name"],),
            size_wh=(whole(entry.get("width")), whole(entry.get("height"))),
            objects=tuple(map(self._object, self._lists.annotations(handle))),
            is_searched=True,
            license=self._license(entry.get("license")),
        )

    def _object(self, annotation: Json) -> GivenObject:
        number = spelled(annotation["id"]) or ""
        category = self._lists.categories.get(identity(annotation.get("category_id")), {}).get("name")
        score = annotation.get("score")
        return GivenObject(
            number,
            category,
            read_box(annotation.get("bbox")),
            is_crowd=is_crowd(annotation.get("iscrowd")),
            scores=Scores(detection=score),
            maker=Maker.HUMAN if score is None else Maker.MODEL,
            source_id=number,
        )

    def _license(self, number: object) -> str | None:
        found = self._lists.licenses.get(identity(number), {}).get("name")
        return found if isinstance(found, str) and found.strip() else None

    def label_map(self) -> LabelMap:
        """Return the file's categories."""
        found = self._lists.categories.values()
        return tuple(Category(one["id"], one["name"], one.get("supercategory")) for one in found)
