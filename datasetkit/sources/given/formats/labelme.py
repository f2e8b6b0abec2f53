"""labelme: a JSON file per image, with shapes.

Source: wkentaro/labelme, ``labelme/_label_file.py`` and ``labelme/utils/shape.py``. A rectangle has two corners in any
order, a circle its middle and a point of its rim; a mask is a PNG in base64, cut to its box, whose lower right corner
belongs to it. Shapes with one label and one group_id are one object. Points and lines are no objects. ``imagePath`` is
relative to the JSON file, often with backslashes; the image itself may be in ``imageData``, in base64.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenObject
from datasetkit.core.ledger import PassedOverKind
from datasetkit.core.mask import BoolArray
from datasetkit.core.paths import leads_out
from datasetkit.sources.coco_values import spelled, whole
from datasetkit.sources.given.drawn import around, ellipse, flat, placed, read_foreground, rectangle, united
from datasetkit.sources.given.indexed import Files, Json, names_below
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import Given, Reader
from datasetkit.sources.texts import decoded

_LOOKED_AT = 10
_BOXES = ("rectangle", "oriented_rectangle")
_AREAS = (*_BOXES, "polygon", "circle", "mask")


class LabelmeReader(Reader):
    """Reads a file per image."""

    summary: ClassVar[str] = "labelme: JSON files with shapes, one per image"

    def __init__(self, given: Given) -> None:
        self._encoding = given.encoding
        folder = folder_of(given.place)
        names = names_below(folder, ".json") if given.place.is_dir() else [given.place.name]
        self._files = Files(folder, names)
        self.indexes = (self._files,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file, or one of the first JSON files of the folder, has shapes."""
        looks = [look.at(name) for name in look.named(".json")[:_LOOKED_AT]] if look.is_folder else [look]
        return any({"shapes", "imagePath"} <= one.first.keys() for one in looks)

    def handles(self) -> Iterator[str]:
        """Yield the names of the files."""
        yield from self._files.names

    def read(self, handle: Any) -> GivenImage:
        """Read one file."""
        entry = json.loads(decoded(self._files.read(handle), handle, self._encoding))
        width, height = whole(entry.get("imageWidth")), whole(entry.get("imageHeight"))
        things: dict[object, list[Json]] = {}
        passed_over: Counter[tuple[PassedOverKind, str]] = Counter()
        for number, shape in enumerate(entry["shapes"]):
            kind = shape.get("shape_type") or "polygon"
            if kind in _AREAS:
                group = shape.get("group_id")
                things.setdefault(number if group is None else (shape["label"], group), []).append(shape)
            else:
                passed_over[PassedOverKind.OTHER_COLUMN, f"shapes of type {kind}"] += 1
        stem = PurePosixPath(handle).with_suffix("").as_posix()
        return GivenImage(
            stem,
            names=_names(handle, entry.get("imagePath")),
            spare=partial(base64.b64decode, entry["imageData"]) if entry.get("imageData") else None,
            size_wh=(width, height),
            objects=tuple(
                _object(str(number), shapes, (height or 0, width or 0)) for number, shapes in enumerate(things.values())
            ),
            passed_over=passed_over,
        )


def _names(file: str, stated: object) -> tuple[str, ...]:
    """Return where the image may be: where the file states, beside the file, and with the file's name."""
    folder, stem = PurePosixPath(file).parent, PurePosixPath(file).stem
    path = stated.replace("\\", "/") if isinstance(stated, str) else ""
    names = [normpath(folder / path), (folder / PurePosixPath(path).name).as_posix()] if path.strip("/") else []
    return tuple(name for name in dict.fromkeys([*names, (folder / stem).as_posix()]) if not leads_out(name))


def _object(key: str, shapes: list[Json], size_hw: tuple[int, int]) -> GivenObject:
    category = spelled(shapes[0]["label"])
    if len(shapes) == 1 and shapes[0].get("shape_type") in _BOXES:
        return GivenObject(key, category, around(shapes[0]["points"]))
    return GivenObject(key, category, mask=united([_part(shape, size_hw) for shape in shapes], size_hw))


def _part(shape: Mapping[str, Any], size_hw: tuple[int, int]) -> Any:
    """Return a polygon, or a function that returns an array."""
    points, kind = shape["points"], shape.get("shape_type") or "polygon"
    if kind == "mask":
        (left, top), _ = points
        return partial(_crop, shape["mask"], round(left), round(top), size_hw)
    if kind == "circle":
        middle, rim = points
        radius = math.dist(middle, rim)
        return flat(ellipse((middle[0], middle[1]), (radius, radius)))
    if kind == "rectangle":
        left, top, width, height = around(points)
        return flat(rectangle(left, top, left + width, top + height))
    return flat(points)


def _crop(text: str, left: int, top: int, size_hw: tuple[int, int]) -> BoolArray:
    return placed(read_foreground(base64.b64decode(text)), left, top, size_hw)
