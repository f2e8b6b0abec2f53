"""COCO format: instances with run-length masks, and captions, one file of each per split. Owns the ids in them.

The JSON files are written element by element: each array goes to a temporary file, and these are joined at the end of a
split, so that memory does not grow with the dataset.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from datasetkit.core.label_map import UNNAMED, Category, CategoryId
from datasetkit.core.record import KeyObject
from datasetkit.export.formats.built import BuiltDataset, ImageRecords, ObjectKey
from datasetkit.export.formats.coco_entries import annotation, image_entry, record_entry
from datasetkit.export.formats.names import FileNames, published_name, source_name
from datasetkit.export.formats.result import RENAMED, ExportResult, losses

_MEANINGS = {
    "unnamed_objects": f'objects without a category, which COCO requires; their category is "{UNNAMED}"',
    "objects_without_mask": "objects without a mask; their segmentation is empty, their area is 0, and only their "
    "box is known",
    "equal_names": "objects of a category whose name is repeated; they have the id of the first one",
    "renamed_pictures": RENAMED,
}
_CAPTION_LISTS = {"annotations": "captions", "uncaptioned": "uncaptioned"}


def write_coco(dataset: BuiltDataset, target: Path) -> ExportResult:
    """Write ``instances_SPLIT.json``, ``captions_SPLIT.json`` and ``images/SPLIT/``.

    An image appears once, with the objects of all of its records. Categories are those of the source, in its order. The
    ids of images and annotations are those of the source if all of the split are different integers, or else 1, 2, ...
    ``uncaptioned`` in the captions file contains the records without a description. For keys beyond COCO's see
    :mod:`~datasetkit.export.formats.coco_entries`.
    """
    ids: dict[str, CategoryId] = {}
    for category in dataset.categories:
        ids.setdefault(category.name, category.id)
    counts: Counter[str] = Counter()
    licenses: dict[str, int] = {}
    for split in dataset.splits:
        with _SplitFiles(target, split) as files:
            _write_split(dataset, split, files, ids, licenses, counts)
            files.put_together(dataset.categories, licenses)
    return ExportResult(counts["records"], counts["pictures"], counts["objects"], losses(counts, _MEANINGS))


def _write_split(
    dataset: BuiltDataset,
    split: str,
    files: _SplitFiles,
    categories: Mapping[str, CategoryId],
    licenses: dict[str, int],
    counts: Counter[str],
) -> None:
    keeps_image_ids, keeps_annotation_ids = dataset.has_number_ids(split)
    equal_names = dataset.equal_names()
    for image in dataset.images(split):
        first = image.records[0]
        image_id = int(first.image_id) if keeps_image_ids else image.number + 1
        license_id = licenses.setdefault(first.source.license, len(licenses) + 1)
        name = files.add_image(image)
        files.add("images", image_entry(image, image_id, name, license_id, categories))
        objects = image.objects
        ids: dict[ObjectKey, int] = {}
        for key, item in objects.items():
            counts["objects"] += 1
            ids[key] = int(str(item.source_id)) if keeps_annotation_ids else counts["objects"]
            files.add("instances", annotation(item, ids[key], image_id, categories))
        for record in image.records:
            counts["records"] += 1
            entry = record_entry(record, counts["records"], image_id, objects, ids)
            files.add("uncaptioned" if record.description is None else "captions", entry)
        counts["renamed_pictures"] += name != source_name(first)
        counts["pictures"] += 1
        _count(objects.values(), equal_names, counts)


def _count(objects: Iterable[KeyObject], equal_names: Mapping[str, int], counts: Counter[str]) -> None:
    for item in objects:
        counts["unnamed_objects"] += item.category is None
        counts["objects_without_mask"] += item.mask is None
        counts["equal_names"] += item.category in equal_names


class _SplitFiles:
    """The files of one split: images, growing arrays, and the two documents made from them."""

    def __init__(self, target: Path, split: str) -> None:
        self._images = target / "images" / split
        self._images.mkdir(parents=True)
        self._names = FileNames()
        self._target = target
        self._split = split
        self._arrays: dict[str, TextIO] = {}

    def __enter__(self) -> _SplitFiles:
        for name in ("images", "instances", *_CAPTION_LISTS.values()):
            path = self._target / f"{name}_{self._split}.part"
            self._arrays[name] = path.open("w+", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._arrays.values():
            file.close()
            Path(file.name).unlink()

    def add_image(self, image: ImageRecords) -> str:
        """Write the file of an image; return its name."""
        name = self._names.take(published_name(image.records[0]), image.name)
        path = self._images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.image.data)
        return name

    def add(self, name: str, value: Mapping[str, Any]) -> None:
        """Append an element to an array."""
        file = self._arrays[name]
        file.write((",\n" if file.tell() else "") + json.dumps(value, ensure_ascii=False))

    def put_together(self, categories: Iterable[Category], licenses: Mapping[str, int]) -> None:
        """Write the two documents."""
        entries = [{"id": number, "name": name, "url": ""} for name, number in licenses.items()]
        spelled = [
            {key: value for key, value in category.to_json().items() if value is not None} for category in categories
        ]
        for document_name, head, lists in (
            ("instances", {"categories": spelled}, {"annotations": "instances"}),
            ("captions", {}, _CAPTION_LISTS),
        ):
            path = self._target / f"{document_name}_{self._split}.json"
            with path.open("w", encoding="utf-8", newline="\n") as document:
                document.write('{"info": {"description": "exported by datasetkit"},\n')
                for key, value in ({"licenses": entries} | head).items():
                    document.write(f'"{key}": {json.dumps(value, ensure_ascii=False)},\n')
                self._copy_array("images", "images", document)
                for key, name in lists.items():
                    document.write(",\n")
                    self._copy_array(key, name, document)
                document.write("}\n")

    def _copy_array(self, key: str, name: str, document: TextIO) -> None:
        document.write(f'"{key}": [\n')
        self._arrays[name].seek(0)
        shutil.copyfileobj(self._arrays[name], document)
        document.write("\n]")
