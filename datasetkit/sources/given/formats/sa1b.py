"""SA-1B: one JSON per image, with masks that a model made and that have no category.

Source: facebookresearch/segment-anything, README: ``image`` with ``file_name`` and sizes, ``annotations`` with a COCO
RLE, ``predicted_iou`` and ``stability_score``. A folder has ``sa_N.json`` next to ``sa_N.jpg``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenObject
from datasetkit.core.record import Maker, Scores
from datasetkit.sources.coco_values import read_box, spelled
from datasetkit.sources.given.coco_layout import size_of
from datasetkit.sources.given.indexed import Files, Json, names_below
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import Given, Reader
from datasetkit.sources.texts import decoded

_LOOKED_AT = 5


class Sa1bReader(Reader):
    """Reads the file of an image."""

    summary: ClassVar[str] = "SA-1B: a JSON per image, with masks of a model and their scores"

    def __init__(self, given: Given) -> None:
        look = Look(given.place)
        names = [name for name in names_below(given.place, ".json") if _is_one(look.at(name))] if look.is_folder else []
        self._files = Files(folder_of(given.place), names or [given.place.name])
        self._encoding = given.encoding
        self.indexes = (self._files,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether a file, or one of the first JSON files of a folder, has masks with both scores."""
        if not look.is_folder:
            return _is_one(look)
        return any(_is_one(look.at(name)) for name in look.named(".json")[:_LOOKED_AT])

    def handles(self) -> Iterator[str]:
        """Yield the names of the files."""
        yield from self._files.names

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its masks."""
        found = json.loads(decoded(self._files.read(handle), handle, self._encoding))
        image = found["image"]
        name = image["file_name"]
        return GivenImage(
            spelled(image.get("image_id")) or name,
            names=(handle.rpartition("/")[0] + "/" + name if "/" in handle else name, name),
            size_wh=size_of(image),
            objects=tuple(_object(one, str(number)) for number, one in enumerate(found["annotations"])),
            is_searched=True,
        )


def _is_one(look: Look) -> bool:
    annotation = look.first.get("annotations")
    return (
        "image" in look.first
        and "images" not in look.first
        and (annotation is None or {"predicted_iou", "stability_score"} <= annotation.keys())
        and "annotations" in look.first
    )


def _object(annotation: Json, number: str) -> GivenObject:
    return GivenObject(
        number,
        None,
        read_box(annotation.get("bbox")),
        annotation["segmentation"],
        scores=Scores(
            predicted_iou=_share(annotation.get("predicted_iou")), stability=_share(annotation.get("stability_score"))
        ),
        maker=Maker.MODEL,
        source_id=spelled(annotation.get("id")),
    )


def _share(value: object) -> float | None:
    """Return a score in [0, 1]; the model's estimates may exceed 1 by a little."""
    return min(max(float(value), 0.0), 1.0) if isinstance(value, int | float) and value == value else None
