"""Label Studio format: tasks with brush masks and labelled phrases. Owns the labels and the labelling interface."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from datasetkit.core.files import write_text
from datasetkit.core.label_map import UNNAMED
from datasetkit.core.record import EncodedImage, KeyObject, Phrase, PhraseStatus, Record
from datasetkit.export.formats.brush import brush_rle
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.export.formats.images import ImageRecords, says_more
from datasetkit.export.formats.pieces import JsonArray, Piece
from datasetkit.export.formats.result import ExportResult, losses

_MEANINGS = {
    "unnamed_objects": f'objects without a category; their label is "{UNNAMED}"',
    "object_details": "objects with fields (key, status, salience, scores, source box) that masks cannot represent",
    "objects_without_region": "objects with neither mask nor box, left out",
    "phrase_details": "phrases with a score or a reason, which spans cannot represent",
    "candidates": "candidates of ambiguous phrases; they have relations like named objects, without their scores",
    "questions": "questions, which tasks cannot represent",
    "category_details": "categories with an id or a supercategory, which labels cannot represent",
}


def write_labelstudio(dataset: BuiltDataset, target: Path) -> ExportResult:
    """Write ``tasks_SPLIT.json``, ``images/SPLIT/`` and ``label_config.xml``.

    Each record becomes a task. Objects are brush masks, or boxes without a mask, labelled with their category. Phrases
    are spans of the description (in code points) labelled with their status, with a relation from a phrase to each
    object that it names or, if it is ambiguous, may name. Image paths are relative to the tasks file. A missing
    description is written as "".
    """
    counts: Counter[str] = Counter()
    for split in dataset.splits:
        images = target / "images" / split
        images.mkdir(parents=True)
        with (target / f"tasks_{split}.json").open("wb") as file:
            file.write(b"[\n")
            tasks = JsonArray(file)
            for piece, more in dataset.converted(
                (plan.span, partial(_convert, folder=images, piece=target / f"{split}-{plan.span.index:05d}.part"))
                for plan in dataset.plans(split)
            ):
                tasks.take(piece)
                counts.update(more)
            file.write(b"\n]\n")
    counts["category_details"] = len(dataset.label_map)
    write_text(
        target / "label_config.xml",
        _label_config(list(dict.fromkeys(category.name for category in dataset.categories))),
    )
    return ExportResult(counts["records"], counts["pictures"], counts["objects"], losses(counts, _MEANINGS))


def _convert(images: Iterator[ImageRecords], folder: Path, piece: Path) -> tuple[Path, Counter[str]]:
    """Write images to the folder of a split, and their tasks to a file; return it with counts."""
    counts: Counter[str] = Counter()
    with Piece(piece) as tasks:
        for image in images:
            name = image.name
            (folder / name).write_bytes(image.image.data)
            counts["pictures"] += 1
            for record in image.records:
                tasks.add(_task(record, f"images/{folder.name}/{name}", counts))
    return piece, counts


def _task(record: Record, path: str, counts: Counter[str]) -> dict[str, Any]:
    counts["records"] += 1
    counts["objects"] += len(record.objects)
    counts["unnamed_objects"] += sum(item.category is None for item in record.objects)
    counts["object_details"] += sum(map(says_more, record.objects))
    counts["phrase_details"] += sum((phrase.score, phrase.reason) != (None, None) for phrase in record.phrases)
    counts["candidates"] += sum(len(phrase.candidates) for phrase in record.phrases)
    counts["questions"] += len(record.questions)
    counts["objects_without_region"] += sum(item.box_xywh is None for item in record.objects)
    result = [_region(item, record.image) for item in record.objects if item.box_xywh is not None]
    drawn = {region["id"] for region in result}
    for number, phrase in enumerate(record.phrases):
        named = (*phrase.object_ids, *(candidate.object_id for candidate in phrase.candidates))
        result.append(_span(number, phrase))
        result += [
            {"type": "relation", "from_id": f"phrase{number}", "to_id": f"object{object_id}", "direction": "right"}
            for object_id in named
            if f"object{object_id}" in drawn
        ]
    return {
        "data": {
            "image": path,
            "description": record.description or "",
            "record_id": record.record_id,
            "license": record.source.license,
        },
        "annotations": [{"result": result}],
    }


def _region(item: KeyObject, image: EncodedImage) -> dict[str, Any]:
    """Return the mask of an object as a brush region, or, without a mask, its box in percent of the sides."""
    label = item.category or UNNAMED
    if item.mask is not None:
        kind, name = "brushlabels", "objects"
        value: dict[str, Any] = {"format": "rle", "rle": list(brush_rle(item.mask.decode()))}
    else:
        kind, name = "rectanglelabels", "boxes"
        shares = (100 * side / (image.width, image.height)[at % 2] for at, side in enumerate(item.box or ()))
        value = dict(zip(("x", "y", "width", "height"), shares, strict=True)) | {"rotation": 0}
    return {
        "id": f"object{item.id}",
        "type": kind,
        "from_name": name,
        "to_name": "image",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": value | {kind: [label]},
    }


def _span(number: int, phrase: Phrase) -> dict[str, Any]:
    return {
        "id": f"phrase{number}",
        "type": "labels",
        "from_name": "phrases",
        "to_name": "description",
        "value": {"start": phrase.start, "end": phrase.end, "text": phrase.text, "labels": [phrase.status.value]},
    }


def _label_config(categories: list[str]) -> str:
    """Return the labelling interface of the tasks."""
    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in categories)
    statuses = "\n".join(f"    <Label value={quoteattr(status.value)}/>" for status in PhraseStatus)
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="objects" toName="image">
{labels}
  </BrushLabels>
  <RectangleLabels name="boxes" toName="image">
{labels}
  </RectangleLabels>
  <Text name="description" value="$description"/>
  <Labels name="phrases" toName="description">
{statuses}
  </Labels>
</View>
"""
