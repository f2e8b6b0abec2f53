"""COCO elements of a built dataset. Owns their keys: COCO's, LVIS's, and ours, from which a build restores records.

Annotations describe objects as in the first record of an image; differences of other records are in ``objects`` of
their captions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from datasetkit.core.label_map import UNNAMED, CategoryId
from datasetkit.core.record import KeyObject, Phrase, Question, Record
from datasetkit.export.formats.images import ImageRecords, ObjectKey, object_keys
from datasetkit.export.formats.names import is_address

_FLICKR = re.compile(r"\w+://[^/]*flickr", re.IGNORECASE)
Json = dict[str, Any]
AnnotationIds = Mapping[ObjectKey, int]


def image_entry(
    image: ImageRecords, image_id: int, file_name: str, license_id: int, categories: Mapping[str, CategoryId]
) -> Json:
    """Return the element of an image; ``source`` describes its file beyond COCO's keys."""
    record = image.records[0]
    uri, name = record.source.uri, record.image.name
    source = {"uri": uri, "sha256": record.source.sha256}
    read_as = file_name if is_address(uri) else PurePosixPath(file_name).name
    address = {"flickr_url" if _FLICKR.match(uri) else "coco_url": uri} if is_address(uri) else {}
    return {
        "id": image_id,
        "file_name": file_name,
        "width": image.image.width,
        "height": image.image.height,
        "license": license_id,
        **address,
        "neg_category_ids": [categories[one] for one in record.absent_categories],
        "not_exhaustive_category_ids": [categories[one] for one in record.partial_categories],
        "source_id": record.image_id,
        "source": source if name == read_as else source | {"path": name},
    }


def annotation(item: KeyObject, annotation_id: int, image_id: int, categories: Mapping[str, CategoryId]) -> Json:
    """Return the element of an object; ``category`` is null for one without."""
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": categories[item.category or UNNAMED],
        "segmentation": [] if item.mask is None else item.mask.to_coco(),
        "area": 0 if item.area is None else item.area,
        "bbox": list(item.box_xywh or (0.0, 0.0, 0.0, 0.0)),
        "iscrowd": int(item.is_crowd),
        **_said(item),
        "source_id": item.source_id,
        **({} if item.category else {"category": None}),
    }


def _said(item: KeyObject) -> Json:
    """Return the fields of an object beyond COCO, in which the records of an image may differ."""
    return {
        "is_key": item.is_key,
        "status": item.status.value,
        "salience": item.salience,
        "scores": asdict(item.scores),
        "source_bbox": item.source_bbox,
        "provenance": asdict(item.provenance),
    }


def record_entry(
    record: Record, entry_id: int, image_id: int, objects: Mapping[ObjectKey, KeyObject], ids: AnnotationIds
) -> Json:
    """Return the element of a record: its caption, if any, and the fields that belong to the record, not to its image.

    Args:
        record: the record.
        entry_id: id of the caption.
        image_id: id of the image.
        objects: objects of the image, as in its annotations.
        ids: ids of their annotations.

    """
    keys = object_keys(record)
    by_object = {item.id: ids[key] for item, key in zip(record.objects, keys, strict=True)}
    entry: Json = {"id": entry_id, "image_id": image_id}
    if record.description is not None:
        entry["caption"] = record.description
    entry["record_id"] = record.record_id
    entry["phrases"] = [_phrase(phrase, by_object) for phrase in record.phrases]
    if record.questions:
        entry["questions"] = [_question(question, by_object) for question in record.questions]
    if record.language is not None:
        entry["language"] = record.language
    own = [_differing(item, objects[key], ids[key]) for item, key in zip(record.objects, keys, strict=True)]
    if own != [{"annotation_id": number, "id": place} for place, number in enumerate(ids.values())]:
        entry["objects"] = own
    return entry


def _differing(item: KeyObject, first: KeyObject, annotation_id: int) -> Json:
    """Return the annotation id of an object, its id in the record, and the differences of the record."""
    known = _said(first)
    return {
        "annotation_id": annotation_id,
        "id": item.id,
        **{key: value for key, value in _said(item).items() if value != known[key]},
    }


def _phrase(phrase: Phrase, ids: Mapping[int, int]) -> Json:
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


def _question(question: Question, ids: Mapping[int, int]) -> Json:
    return {
        "question": question.question,
        "answer": question.answer,
        "type": question.type,
        "options": list(question.options),
        "annotation_ids": [ids[number] for number in question.object_ids],
    }
