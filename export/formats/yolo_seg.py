"""YOLO segmentation format: one text file of polygons per image. Owns the lines, and the account of losses."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from datasetkit.core.files import write_text
from datasetkit.core.label_map import UNNAMED
from datasetkit.core.mask import Mask
from datasetkit.core.record import KeyObject
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.export.formats.images import ImageRecords, says_more
from datasetkit.export.formats.polygons import fill, trace
from datasetkit.export.formats.result import ExportResult, losses

# Readers round to the nearest or the lower integer: with a quarter, both yield the intended pixel.
_WITHIN_PIXEL = 0.25
_MEANINGS = {
    "holed_objects": "objects with holes; lines in both directions connect the border of a hole to the outline",
    "parted_objects": "objects in several parts; lines in both directions connect them, one pixel wide when filled",
    "changed_masks": "objects whose filled polygon differs from their mask; mean_iou measures all objects",
    "objects_without_mask": "objects without a mask, left out",
    "crowds": "crowds, left out: a polygon would present them as one object",
    "unnamed_objects": f'objects without a category; their class is "{UNNAMED}"',
    "object_details": "objects with fields (key, status, salience, scores, source box) that YOLO cannot represent",
    "category_details": "categories with an id or supercategory, which YOLO cannot represent; they are numbered from 0",
    "equal_names": "categories whose name is repeated; objects have the number of the first one",
    "absent_splits": "splits that data.yaml names but that were not exported",
    "missing_splits": "missing splits of train and val, both of which readers such as ultralytics require",
    "descriptions": "descriptions with their phrases and questions, which YOLO cannot represent",
}


def write_yolo_seg(dataset: BuiltDataset, target: Path) -> ExportResult:
    """Write ``images/SPLIT/``, ``labels/SPLIT/`` and ``data.yaml``.

    An image appears once, with the objects of all of its records: each line has a class and the x and y of each corner,
    as fractions of width and height. Classes have the numbers 0, 1, ... in the order of the source's label map, or else
    of their names.
    """
    classes: dict[str, int] = {}
    for number, category in enumerate(dataset.categories):
        classes.setdefault(category.name, number)
    counts: Counter[str] = Counter()
    iou_sum = 0.0
    for split in dataset.splits:
        images, labels = target / "images" / split, target / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        convert = partial(_convert, images_folder=images, labels_folder=labels, classes=classes)
        for more, ious in dataset.converted((plan.span, convert) for plan in dataset.plans(split)):
            counts.update(more)
            for iou in ious:  # one by one, so that rounding does not depend on the spans
                iou_sum += iou
    write_text(target / "data.yaml", _data_yaml(dataset, counts))
    mean_iou = iou_sum / counts["objects"] if counts["objects"] else None
    return ExportResult(
        counts["records"], counts["pictures"], counts["objects"], losses(counts, _MEANINGS), mean_iou=mean_iou
    )


def _convert(
    images: Iterator[ImageRecords], images_folder: Path, labels_folder: Path, classes: Mapping[str, int]
) -> tuple[Counter[str], array[float]]:
    """Write images with their labels; return counts, and the IoU of each object."""
    counts: Counter[str] = Counter()
    ious = array("d")
    for image in images:
        lines = []
        for item in image.objects.values():
            if item.mask is None:
                counts["objects_without_mask"] += 1
                continue
            if item.is_crowd:
                counts["crowds"] += 1
                continue
            line, iou = _line(item, item.mask, classes, counts)
            lines.append(line)
            ious.append(iou)
        name = image.name
        (images_folder / name).write_bytes(image.image.data)
        (labels_folder / PurePosixPath(name).with_suffix(".txt")).write_bytes("".join(lines).encode())
        counts["pictures"] += 1
        counts["records"] += len(image.records)
        counts["descriptions"] += sum(record.description is not None for record in image.records)
    return counts, ious


def _data_yaml(dataset: BuiltDataset, counts: Counter[str]) -> str:
    """Write all splits of the dataset, exported or not, and its classes; count what readers will miss."""
    folders = {split: f"images/{split}" for split in dataset.all_splits}
    if "validation" in folders and "val" not in folders:  # the name that YOLO readers expect
        folders = {"val" if split == "validation" else split: path for split, path in folders.items()}
    counts["missing_splits"] = len({"train", "val"} - folders.keys())
    counts["absent_splits"] = len(dataset.all_splits) - len(dataset.splits)
    named = enumerate(dataset.label_map)
    counts["category_details"] = sum(one.id != number or bool(one.supercategory) for number, one in named)
    counts["equal_names"] = sum(dataset.equal_names().values())
    description = folders | {"names": {number: one.name for number, one in enumerate(dataset.categories)}}
    return yaml.safe_dump(description, sort_keys=False, allow_unicode=True)


def _line(item: KeyObject, encoded: Mask, classes: Mapping[str, int], counts: Counter[str]) -> tuple[str, float]:
    """Return the line of an object, and the IoU of its filled polygon and its mask."""
    mask = encoded.decode()
    outline = trace(mask)
    filled = fill(outline.points_xy, encoded.size_hw)
    iou = int(np.count_nonzero(mask & filled)) / int(np.count_nonzero(mask | filled))
    counts["objects"] += 1
    counts["holed_objects"] += outline.holes > 0
    counts["parted_objects"] += outline.parts > 1
    counts["changed_masks"] += iou < 1
    counts["unnamed_objects"] += item.category is None
    counts["object_details"] += says_more(item)
    height, width = encoded.size_hw
    fractions = (outline.points_xy + _WITHIN_PIXEL) / (width, height)
    numbers = " ".join(f"{value:.7f}" for value in fractions.ravel().tolist())
    return f"{classes[item.category or UNNAMED]} {numbers}\n", iou
