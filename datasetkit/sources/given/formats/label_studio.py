"""Label Studio's JSON export: tasks with regions of images, spans of texts, and relations between them.

Source: labelstud.io, task format; HumanSignal/label-studio-converter, ``brush.py``. Coordinates are percent of the
sides; a rectangle turns clockwise about its upper left corner, an ellipse about its middle. A relation may lead from a
span to a region or back. Spans count code points, in older exports UTF-16 units. Cancelled annotations and predictions
are left out; of several annotations, a ground truth is taken first, then the newest. The names of uploaded files begin
with eight hex digits and a dash.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText, NoLink
from datasetkit.core.ledger import PassedOverKind
from datasetkit.core.mask import BoolArray
from datasetkit.core.paths import leads_out
from datasetkit.core.record import Linker, Maker
from datasetkit.sources.coco_values import spelled
from datasetkit.sources.files import CAPTION_COLUMNS, IMAGE_SUFFIXES
from datasetkit.sources.given.brush import decode_brush
from datasetkit.sources.given.drawn import around, ellipse, flat, rectangle, turned
from datasetkit.sources.given.indexed import Json, JsonList
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
_MAKERS = {"prediction": Maker.MODEL, "prediction-changed": Maker.REVIEWED}
_PARTS = ("annotations", "completions")  # the latter until version 1.0


class LabelStudioReader(Reader):
    """Reads a task per image."""

    summary: ClassVar[str] = "Label Studio JSON export: regions, brushes, spans of a text, and relations"

    def __init__(self, given: Given) -> None:
        self._tasks = JsonList(given.place, encoding=given.encoding)
        self.indexes = (self._tasks,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file is a list of tasks with data and annotations."""
        task = look.first.get("")
        return isinstance(task, dict) and isinstance(task.get("data"), dict) and not task.keys().isdisjoint(_PARTS)

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the tasks."""
        yield from range(len(self._tasks))

    def read(self, handle: Any) -> GivenImage:
        """Read one task."""
        task = self._tasks[handle]
        data = task["data"]
        passed_over: Counter[tuple[PassedOverKind, str]] = Counter()
        annotations: Sequence[Json] = next((task[part] for part in _PARTS if task.get(part)), [])
        usable = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
        chosen = max(usable, key=_rank, default=None)
        regions = [] if chosen is None else chosen["result"]
        for name, count in (
            ("further annotations of a task", len(annotations) - (chosen is not None)),
            ("predictions", len(task.get("predictions") or ())),
        ):
            passed_over[PassedOverKind.OTHER_COLUMN, name] += count
        objects: dict[str, GivenObject] = {}
        spans: dict[str, Json] = {}
        for number, region in enumerate(regions):
            key, value = str(region.get("id") or number), region.get("value") or {}
            if "start" in value and "text" in value:
                spans[key] = value
            elif _has_area(value):
                found = _object(key, region, value)
                known = objects.get(key, found)
                objects[key] = replace(known, category=known.category or found.category)
            elif region.get("type") not in ("relation", "textarea"):
                passed_over[PassedOverKind.OTHER_COLUMN, f"regions of type {region.get('type')}"] += 1
        image_key = _image_key(data)
        text = _text(data, image_key, regions, [str(span["text"]) for span in spans.values()])
        related = _related(regions, objects, spans)
        phrases = tuple(
            GivenPhrase(
                tuple(related[key]),
                int(span["start"]),
                int(span["end"]),
                span["text"],
                reason=None if related[key] else NoLink.NO_RELATION,
            )
            for key, span in spans.items()
        )
        return GivenImage(
            spelled(task.get("id")) or str(handle),
            names=_names(data[image_key]),
            are_shares=True,
            texts=() if text is None else (GivenText(text, phrases=phrases),),
            objects=tuple(objects.values()),
            links=Linker.HUMAN if phrases else None,
            passed_over={item: count for item, count in passed_over.items() if count},
        )


def _rank(annotation: Json) -> tuple[bool, str, int]:
    moment = annotation.get("updated_at") or annotation.get("created_at") or ""
    number = annotation.get("id")
    return bool(annotation.get("ground_truth")), str(moment), number if isinstance(number, int) else 0


def _has_area(value: Json) -> bool:
    return "rle" in value or "points" in value or "radiusX" in value or {"x", "y", "width", "height"} <= value.keys()


def _object(key: str, region: Json, value: Json) -> GivenObject:
    """Return the object of a region; one that is malformed has neither a box nor a mask, and is dropped."""
    labels = [one for name, several in value.items() if name.endswith("labels") for one in several or ()]
    category = spelled(labels[0]) if labels else None
    maker = _MAKERS.get(region.get("origin", ""), Maker.HUMAN)
    try:
        if "rle" in value:
            mask = partial(_brush, value["rle"], region["original_width"], region["original_height"])
            return GivenObject(key, category, mask=mask, maker=maker)
        if "points" in value:
            return GivenObject(key, category, mask=[[one / 100 for one in flat(value["points"])]], maker=maker)
        width, height = (region["original_width"], region["original_height"]) if value.get("rotation") else (1, 1)
        x, y = value["x"] * width / 100, value["y"] * height / 100
        degrees = float(value.get("rotation") or 0)
        if "radiusX" in value:
            radii = value["radiusX"] * width / 100, value["radiusY"] * height / 100
            mask_corners = ellipse((x, y), radii, degrees)
            return GivenObject(key, category, mask=[flat(_shares(mask_corners, width, height))], maker=maker)
        right, bottom = x + value["width"] * width / 100, y + value["height"] * height / 100
        corners = turned(rectangle(x, y, right, bottom), (x, y), degrees)
        return GivenObject(key, category, around(_shares(corners, width, height)), maker=maker)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return GivenObject(key, category)


def _shares(points: Sequence[tuple[float, float]], width: float, height: float) -> list[tuple[float, float]]:
    return [(x / width, y / height) for x, y in points]


def _brush(runs: Sequence[int], width: int, height: int) -> BoolArray:
    return decode_brush(runs, int(width), int(height))


def _related(regions: Sequence[Json], objects: Mapping[str, Any], spans: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the objects of each span, by the relations in either direction."""
    found: dict[str, list[str]] = {key: [] for key in spans}
    for region in regions:
        if region.get("type") == "relation":
            for span, other in (("from_id", "to_id"), ("to_id", "from_id")):
                if region.get(span) in spans and region.get(other) in objects:
                    found[region[span]].append(region[other])
    return found


def _image_key(data: Json) -> str:
    """Return the key of the image: that of the first address of an image file, else ``image``."""
    texts = [(key, value) for key, value in data.items() if isinstance(value, str)]
    return next((key for key, value in texts if _path(value).suffix.lower() in IMAGE_SUFFIXES), "image")


def _text(data: Json, image_key: str, regions: Sequence[Json], words: Sequence[str]) -> str | None:
    """Return the text that spans were drawn in, else what is named like a caption, else what the annotator wrote."""
    texts = {key: value for key, value in data.items() if isinstance(value, str) and key != image_key}
    named = [texts[key] for key in CAPTION_COLUMNS if key in texts]
    if words:
        candidates = [*named, *texts.values()]
        return max(candidates, key=lambda text: sum(one.strip() in text for one in words), default=None)
    written = [region["value"]["text"] for region in regions if region.get("type") == "textarea"]
    lines = [one for several in written for one in (several if isinstance(several, list) else [several])]
    return next(iter([*named, *lines]), None)


def _path(address: str) -> PurePosixPath:
    """Return the path of a file in an address; of one that Label Studio serves itself, the path on its disk."""
    split = urlsplit(address)
    local = parse_qs(split.query).get("d") if split.path.endswith("/local-files/") else None
    return PurePosixPath(local[0] if local else unquote(split.path))


def _names(address: str) -> tuple[str, ...]:
    path = _path(address)
    own = _UPLOADED.sub("", path.name)
    names = [path.as_posix().lstrip("/"), path.name, own]
    return tuple(name for name in dict.fromkeys(names) if name and not leads_out(name))
