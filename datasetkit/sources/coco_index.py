"""COCO's two annotation files, indexed. Owns which picture every annotation belongs to, and where it stands."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from datasetkit.core.errors import SourceError
from datasetkit.core.paths import Place
from datasetkit.sources.columns import license_identifier
from datasetkit.sources.json_index import JsonFile, Postings

_LONGEST_QUOTE = 60


class CocoIndex:
    """Where everything stands in the two files: ids and places, no pixels and no polygons."""

    def __init__(self, instances: Place | None, captions: Place | None) -> None:
        self.image_ids = array("q")
        self.instances = Postings()
        self.captions = Postings()
        self.categories: dict[Any, str] = {}
        self.licenses: dict[Any, str] = {}
        self.strays: list[tuple[str, str]] = []
        self.files: list[JsonFile] = []
        self._images: list[tuple[int, int, int]] = []
        self._numbers: dict[int, int] = {}
        self._instances_file = self._open(instances)
        self._captions_file = self._open(captions)
        files = ((self._instances_file, self.instances), (self._captions_file, self.captions))
        waiting = [(postings, self._scan(file)) for file, postings in files if file]
        for postings, places in waiting:
            self._assign(places, postings)
        for postings in (self.instances, self.captions):
            postings.group(len(self.image_ids))

    def is_duplicate(self, number: int) -> bool:
        """Whether an earlier picture has the same id."""
        return self._numbers[self.image_ids[number]] != number

    def image(self, number: int) -> dict[str, Any]:
        """Read a picture's entry."""
        file, start, length = self._images[number]
        return self.files[file].element(start, length)

    def instance(self, start: int, length: int) -> dict[str, Any]:
        """Read an instance annotation by its place."""
        return self._instances_file.element(start, length) if self._instances_file else {}

    def caption(self, start: int, length: int) -> dict[str, Any]:
        """Read a caption by its place."""
        return self._captions_file.element(start, length) if self._captions_file else {}

    def _open(self, path: Place | None) -> JsonFile | None:
        if path is None:
            return None
        self.files.append(JsonFile(path))
        return self.files[-1]

    def _scan(self, file: JsonFile) -> array[int]:
        """Index one file; give picture id, annotation id, first byte and length of its annotations, flat."""
        file_number = self.files.index(file)
        known = frozenset(self._numbers)
        annotations = array("q")

        def take(key: str, element: Any, start: int, length: int) -> None:
            if key == "images":
                image_id = _whole_number(element, "id", file.path)
                if image_id not in known:
                    self._numbers.setdefault(image_id, len(self.image_ids))
                    self.image_ids.append(image_id)
                    self._images.append((file_number, start, length))
            elif key == "annotations":
                if not annotations:
                    self._check_kind(file, element)
                image_id = _whole_number(element, "image_id", file.path)
                annotations.extend((image_id, _whole_number(element, "id", file.path), start, length))
            elif key == "categories":
                category_id, name = _whole_number(element, "id", file.path), element.get("name")
                if isinstance(name, str) and name:
                    self.categories[category_id] = name
            elif key == "licenses" and isinstance(element, Mapping) and isinstance(element.get("id"), int | str):
                self.licenses[element["id"]] = license_identifier(element)

        file.scan(take)
        return annotations

    def _check_kind(self, file: JsonFile, annotation: Any) -> None:
        """Tell by its first annotation where a file was given in the other one's place."""
        wanted, other = ("segmentation", "caption") if file is self._instances_file else ("caption", "segmentation")
        if isinstance(annotation, Mapping) and wanted not in annotation and other in annotation:
            raise SourceError(
                f"{file.path}: annotations have a {other} and no {wanted}; are instances and captions swapped?"
            )

    def _assign(self, annotations: array[int], postings: Postings) -> None:
        for at in range(0, len(annotations), 4):
            image_id, annotation_id, start, length = annotations[at : at + 4]
            if image_id in self._numbers:
                postings.add(self._numbers[image_id], annotation_id, start, length)
            else:
                self.strays.append((str(annotation_id), str(image_id)))


def _whole_number(element: Any, key: str, path: Place) -> int:
    value = element.get(key) if isinstance(element, Mapping) else None
    if not isinstance(value, int) or abs(value) >= 2**63:
        came = repr(value)[:_LONGEST_QUOTE]
        raise SourceError(f"{path}: an element's {key} is {came}; COCO needs a whole number of 64 bits there")
    return value
