"""PhraseCut: phrases with the polygons of all things that they name, on images of Visual Genome.

Source: ChenyunWu/PhraseCutDataset, README. ``refer_SPLIT.json`` is a list of tasks: ``phrase``, ``instance_boxes``, and
``Polygons`` by instance, polygon and point. ``image_data_split3000.json`` next to it has sizes and splits. Images are
``images/ID.jpg``. The phrase is the description.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText
from datasetkit.core.record import Linker
from datasetkit.sources.coco_values import identity, read_box, spelled
from datasetkit.sources.given.coco_layout import size_of
from datasetkit.sources.given.indexed import Json, JsonList
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import Given, Reader

_IMAGE_DATA = "image_data_split3000.json"


class PhraseCutReader(Reader):
    """Reads a phrase with its objects."""

    summary: ClassVar[str] = "PhraseCut JSON: a list of phrases with Polygons and instance_boxes"

    def __init__(self, given: Given) -> None:
        self._list = JsonList(given.place, encoding=given.encoding)
        path = folder_of(given.place) / _IMAGE_DATA
        self._data = JsonList(path, encoding=given.encoding) if path.is_file() else None
        self.indexes = (self._list,) if self._data is None else (self._list, self._data)
        self._numbers: dict[int | str | None, int] = {}
        for number in range(len(self._data or ())):
            entry = self._image_data(number)
            self._numbers[identity(entry.get("image_id"))] = number

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file is a list of phrases with polygons."""
        element = look.first.get("")
        return isinstance(element, dict) and {"phrase", "Polygons"} <= element.keys()

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the phrases."""
        yield from range(len(self._list))

    def read(self, handle: Any) -> GivenImage:
        """Read one phrase with its objects."""
        task = self._list[handle]
        image_id = spelled(task["image_id"])
        if image_id is None:
            raise ValueError("the task has no image_id")
        number = self._numbers.get(identity(task["image_id"]))
        entry = {} if number is None else self._image_data(number)
        polygons, boxes = task["Polygons"], task.get("instance_boxes") or []
        ids = task.get("ann_ids") or []
        category = (task.get("phrase_structure") or {}).get("name")
        objects = tuple(
            GivenObject(
                str(place),
                category if isinstance(category, str) and category.strip() else None,
                read_box(boxes[place]) if place < len(boxes) else None,
                [[side for point in polygon for side in point] for polygon in parts] or None,
                source_id=f"{handle}/{spelled(ids[place]) if place < len(ids) else place}",
            )
            for place, parts in enumerate(polygons)
        )
        text = task["phrase"].strip()
        phrase = GivenPhrase(tuple(item.key for item in objects), 0, len(text))
        return GivenImage(
            image_id,
            entry=f"{image_id}/{spelled(task.get('task_id')) or handle}",
            names=(f"images/{image_id}.jpg", f"{image_id}.jpg"),
            size_wh=size_of(entry),
            texts=(GivenText(text, phrases=(phrase,)),),
            objects=objects,
            links=Linker.HUMAN,
            split=entry.get("split"),
            uri=entry.get("url"),
        )

    def _image_data(self, number: int) -> Json:
        """Return an entry of the image data; an empty one where it is broken, since the polygons suffice."""
        entry = self._data[number] if self._data is not None else {}
        return entry if isinstance(entry, dict) else {}
