"""COCO's format: instances with run-length masks and captions, a file of each a split. Owns the ids in them.

The JSON files are written element by element: each array goes to a file of its own, and these are put together at the
end of a split, so that memory does not grow with the dataset.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from datasetkit.core.record import KeyObject, Phrase, Record
from datasetkit.export.formats.built import UNNAMED, BuiltDataset, ObjectKey, Picture, object_keys
from datasetkit.export.formats.result import ExportResult, losses

_MEANINGS = {
    "unnamed_objects": f'objects without a category, which COCO does not know; their category is "{UNNAMED}"',
    "objects_without_mask": "objects without a mask; their segmentation is empty, their area 0, and their box is all "
    "that is known of them",
    "differing_objects": "objects of which records of one picture say different things (key, status, scores, ...); "
    "annotations have what the first record says",
    "questions": "questions, for which COCO has no place",
}


def write_coco(dataset: BuiltDataset, target: Path) -> ExportResult:
    """Write ``instances_SPLIT.json``, ``captions_SPLIT.json`` and ``images/SPLIT/``.

    A picture appears once, with the objects of all its records. Annotations have keys beyond COCO's: ``is_key``,
    ``status``, ``salience``, ``scores``, ``source_bbox``, ``source_id``, ``provenance``. A picture's id
    is the one of its source where all pictures of the split have whole numbers, else its number. Categories have the
    ids 1, 2, ... in the order of their names. Captions carry their ``phrases``, which name objects by
    ``annotation_ids``.
    """
    names = dataset.category_names()
    categories = {name: number for number, name in enumerate(names, start=1)}
    counts: Counter[str] = Counter()
    licenses: dict[str, int] = {}
    for split in dataset.splits:
        with _SplitFiles(target, split) as files:
            keeps_ids = dataset.has_number_ids(split)
            for picture in dataset.pictures(split):
                (files.pictures / picture.name).write_bytes(picture.image.data)
                image_id = int(picture.records[0].image_id) if keeps_ids else picture.number + 1
                files.add("images", _image(picture, image_id, licenses))
                objects = picture.objects
                annotation_ids = _add_instances(files, objects, image_id, categories, counts)
                for record in picture.records:
                    counts["records"] += 1
                    counts["questions"] += len(record.questions)
                    counts["differing_objects"] += _differing(record, objects)
                    if record.description is not None:
                        counts["captions"] += 1
                        files.add("captions", _caption(record, counts["captions"], image_id, annotation_ids))
                counts["pictures"] += 1
            files.put_together(names, licenses)
    return ExportResult(counts["records"], counts["pictures"], counts["objects"], losses(counts, _MEANINGS))


def _image(picture: Picture, image_id: int, licenses: dict[str, int]) -> dict[str, Any]:
    source = picture.records[0].source
    entry = {
        "id": image_id,
        "file_name": picture.name,
        "width": picture.image.width,
        "height": picture.image.height,
        "license": licenses.setdefault(source.license, len(licenses) + 1),
        "source_id": picture.records[0].image_id,
    }
    return entry | ({"coco_url": source.uri} if "://" in source.uri else {})


def _add_instances(
    files: _SplitFiles,
    objects: Mapping[ObjectKey, KeyObject],
    image_id: int,
    categories: Mapping[str, int],
    counts: Counter[str],
) -> dict[ObjectKey, int]:
    """Write a picture's objects; give the annotation id of each."""
    ids = {}
    for key, item in objects.items():
        counts["objects"] += 1
        counts["unnamed_objects"] += item.category is None
        counts["objects_without_mask"] += item.mask is None
        ids[key] = counts["objects"]
        annotation = {
            "id": counts["objects"],
            "image_id": image_id,
            "category_id": categories[item.category or UNNAMED],
            "segmentation": [] if item.mask is None else item.mask.to_coco(),
            "area": 0 if item.area is None else item.area,
            "bbox": list(item.box_xywh or (0.0, 0.0, 0.0, 0.0)),
            "iscrowd": int(item.is_crowd),
            "is_key": item.is_key,
            "status": item.status.value,
            "salience": item.salience,
            "scores": asdict(item.scores),
            "source_bbox": item.source_bbox,
            "source_id": item.source_id,
            "provenance": asdict(item.provenance),
        }
        files.add("instances", annotation)
    return ids


def _differing(record: Record, objects: Mapping[ObjectKey, KeyObject]) -> int:
    """Count a record's objects of which the annotation, made of the first record that has them, says other things."""
    firsts = (objects[key] for key in object_keys(record))
    return sum(replace(first, id=item.id) != item for item, first in zip(record.objects, firsts, strict=True))


def _caption(record: Record, caption_id: int, image_id: int, annotation_ids: Mapping[ObjectKey, int]) -> dict[str, Any]:
    keys = zip(record.objects, object_keys(record), strict=True)
    ids = {item.id: annotation_ids[key] for item, key in keys}
    return {
        "id": caption_id,
        "image_id": image_id,
        "caption": record.description,
        "record_id": record.record_id,
        "phrases": [_phrase(phrase, ids) for phrase in record.phrases],
    }


def _phrase(phrase: Phrase, ids: Mapping[int, int]) -> dict[str, Any]:
    return {
        "text": phrase.text,
        "start": phrase.start,
        "end": phrase.end,
        "annotation_ids": [ids[number] for number in phrase.object_ids],
        "candidates": [{"annotation_id": ids[item.object_id], "score": item.score} for item in phrase.candidates],
        "score": phrase.score,
        "status": phrase.status.value,
        "reason": phrase.reason,
        "provenance": phrase.provenance,
        "kind": phrase.kind.value,
    }


class _SplitFiles:
    """The files of one split: arrays that grow, and the two documents made of them."""

    def __init__(self, target: Path, split: str) -> None:
        self.pictures = target / "images" / split
        self.pictures.mkdir(parents=True)
        self._target = target
        self._split = split
        self._arrays: dict[str, TextIO] = {}

    def __enter__(self) -> _SplitFiles:
        for name in ("images", "instances", "captions"):
            path = self._target / f"{name}_{self._split}.part"
            self._arrays[name] = path.open("w+", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._arrays.values():
            file.close()
            Path(file.name).unlink()

    def add(self, name: str, value: Mapping[str, Any]) -> None:
        """Append an element to an array."""
        file = self._arrays[name]
        file.write((",\n" if file.tell() else "") + json.dumps(value, ensure_ascii=False))

    def put_together(self, category_names: list[str], licenses: Mapping[str, int]) -> None:
        """Write the two documents."""
        entries = [{"id": number, "name": name, "url": ""} for name, number in licenses.items()]
        categories = [
            {"id": number, "name": name, "supercategory": ""} for number, name in enumerate(category_names, start=1)
        ]
        for name, lists in (("instances", {"categories": categories}), ("captions", {})):
            with (self._target / f"{name}_{self._split}.json").open("w", encoding="utf-8", newline="\n") as document:
                document.write('{"info": {"description": "exported by datasetkit"},\n')
                for key, value in ({"licenses": entries} | lists).items():
                    document.write(f'"{key}": {json.dumps(value, ensure_ascii=False)},\n')
                self._copy_array("images", "images", document)
                document.write(",\n")
                self._copy_array("annotations", name, document)
                document.write("}\n")

    def _copy_array(self, key: str, name: str, document: TextIO) -> None:
        document.write(f'"{key}": [\n')
        self._arrays[name].seek(0)
        shutil.copyfileobj(self._arrays[name], document)
        document.write("\n]")
