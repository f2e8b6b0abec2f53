"""What the cells of a row state about its image: texts, boxes and masks, by the names that data sets use for them.

Source: huggingface/datasets, guides "Create an image dataset" and "Object detection"; cards of nlphuji/flickr30k,
cppe-5 and sets with an image and a mask. ``objects`` is a dictionary of lists or a list of dictionaries, with boxes
(left, top, width, height), px. Numbers of categories have names in the features of the schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import UnusableError
from datasetkit.core.given import GivenObject, GivenText
from datasetkit.core.ledger import DropReason
from datasetkit.core.record import Scores
from datasetkit.sources.coco_values import is_crowd, read_box, spelled, whole
from datasetkit.sources.files import CAPTION_COLUMNS, as_text
from datasetkit.sources.given.masks import objects_in
from datasetkit.sources.texts import without_markup

Cells = Mapping[str, Any]
ClassNames = Mapping[str, list[str]]

TEXT_MEMBER = "txt"
TEXTS = (TEXT_MEMBER, *CAPTION_COLUMNS, "sentences")
OBJECTS = ("objects",)
MASKS = ("mask", "masks", "label", "annotation", "segmentation")
BOXES = ("bbox", "bboxes", "box", "boxes")
CATEGORIES = ("category", "categories", "label", "labels", "category_id", "name", "names")
_CROWDS = ("iscrowd", "is_crowd")
_IDS = ("id", "ids", "bbox_id", "object_id")
_SCORES = ("score", "scores")
_SEGMENTATIONS = ("segmentation", "segmentations", "mask", "masks")
_IN_SENTENCE = ("raw", "caption", "text", "sentence")
_DUMMIES = frozenset({"object", "objects", "thing"})
READ = frozenset({*TEXTS, *OBJECTS, *MASKS, *BOXES, *CATEGORIES, "license", "split", "url"})


def texts_of(cells: Cells) -> tuple[GivenText, ...]:
    """Return the texts of the first cell that has words."""
    for name in TEXTS:
        texts = [GivenText(without_markup(text)) for text in words_in(cells.get(name))]
        if any(text.text.strip() for text in texts):
            return tuple(text for text in texts if text.text.strip())
    return ()


def words_in(value: object) -> Iterator[str]:
    """Yield the texts in a cell: a text, or a list of texts or of ``{"raw": text}``."""
    if isinstance(value, Mapping):
        value = next((value[name] for name in _IN_SENTENCE if value.get(name)), None)
    if isinstance(value, list | tuple):
        for item in value:
            yield from words_in(item)
    elif isinstance(value, str):
        yield as_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        yield str(value)
    elif value is not None and value == value:
        raise UnusableError(DropReason.BAD_ROW, f"the description is a {type(value).__name__}, not a text")


def objects_of_cells(cells: Cells, names: ClassNames) -> tuple[GivenObject, ...]:
    """Return the boxes and masks of a row.

    Raises:
        UnusableError: their lists have different lengths, or a mask cannot be decoded.

    """
    stated = next((cells[name] for name in OBJECTS if cells.get(name)), None)
    if stated is None and any(isinstance(cells.get(name), list) and cells[name] for name in BOXES):
        stated = {name: value for name, value in cells.items() if isinstance(value, list)}
    found = [_object(item, number, names) for number, item in enumerate(_items(stated))]
    labels = next((value for name in CATEGORIES if isinstance(value := cells.get(name), list)), None)
    for name in MASKS:
        images = cells.get(name)
        several = images if isinstance(images, list) else [images]
        for number, image in enumerate(several):
            if (data := bytes_of_image(image)) is not None:
                is_named = isinstance(images, list) and labels is not None and number < len(labels)
                category = _category(labels[number], names, ("labels", *CATEGORIES)) if is_named and labels else None
                found += objects_in(data, f"{name}/{number}", category)
    return tuple(found)


def bytes_of_image(value: object) -> bytes | None:
    """Return the bytes of an encoded image in a cell; None for anything else."""
    data = value.get("bytes") if isinstance(value, Mapping) else value
    return data if isinstance(data, bytes) else None


def _items(value: object) -> Iterator[Cells]:
    """Yield the objects of a dictionary of lists, or of a list of dictionaries; either may be written as JSON."""
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, Mapping):
        lists = {name: cell for name, cell in value.items() if isinstance(cell, list)}
        if len({*map(len, lists.values())}) > 1:
            lengths = ", ".join(f"{name}: {len(cell)}" for name, cell in lists.items())
            raise UnusableError(DropReason.BAD_ROW, f"the lists of its objects have different lengths ({lengths})")
        for item in zip(*lists.values(), strict=True):
            yield dict(zip(lists, item, strict=True))
    elif isinstance(value, list):
        for item in value:
            yield item if isinstance(item, Mapping) else {}


def _object(item: Cells, number: int, names: ClassNames) -> GivenObject:
    category = next((item[name] for name in CATEGORIES if item.get(name) is not None), None)
    box = next((item[name] for name in BOXES if item.get(name) is not None), None)
    segmentation = next((item[name] for name in _SEGMENTATIONS if item.get(name)), None)
    score = next((item[name] for name in _SCORES if item.get(name) is not None), None)
    return GivenObject(
        str(number),
        _category(category, names, CATEGORIES),
        None if box is None else read_box(list(box)),
        mask=segmentation,
        is_crowd=is_crowd(next((item[name] for name in _CROWDS if name in item), None)),
        scores=Scores(detection=score),
        source_id=spelled(next((item[name] for name in _IDS if name in item), None)),
    )


def _category(value: object, names: ClassNames, columns: tuple[str, ...]) -> str | None:
    """Return the name of a category; None for a number without a name, and for names that say nothing."""
    number = whole(value) if not isinstance(value, str) else None
    if number is not None:
        known = next((names[name] for name in columns if name in names), [])
        value = known[number] if 0 <= number < len(known) else None
    is_name = isinstance(value, str) and value.strip() and value.strip().lower() not in _DUMMIES
    return as_text(str(value).strip()) if is_name else None


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of numbered categories, by the column or field that holds the numbers."""
    found: dict[str, list[str]] = {}

    def look(name: str, feature: object) -> None:
        if isinstance(feature, list):
            for item in feature:
                look(name, item)
        elif isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            found.setdefault(name, [str(one) for one in feature.get("names") or ()])
        elif isinstance(feature, dict):
            for key, item in feature.items():
                look(name if key == "feature" else key, item)

    try:
        look("", json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found
