"""Open Images: CSV files of boxes, of masks and of classes, and localized narratives in JSON lines.

Source: storage.googleapis.com/openimages, data formats; google/localized-narratives. Corners are shares, in the order
XMin, XMax, YMin, YMax. Flags are 1, 0 or -1 for unknown; IsGroupOf is a crowd. A mask belongs to the box of the same
image, class and corners; its PNG may have another size than the image. The table of classes has a header in newer files
only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any, ClassVar

from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenImage, GivenObject, GivenText
from datasetkit.core.label_map import Category, LabelMap
from datasetkit.core.mask import BoolArray, Box
from datasetkit.core.record import Maker
from datasetkit.sources.coco_values import spelled
from datasetkit.sources.files import split_of_words
from datasetkit.sources.given.collected import corners
from datasetkit.sources.given.drawn import read_foreground
from datasetkit.sources.given.indexed import CsvRows, Files, JsonLines, cells_of, names_below
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import Given, Reader
from datasetkit.sources.json_index import Postings

_BOXES = frozenset({"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"})
_MASKS = frozenset({"MaskPath", "ImageID", "LabelName"})
_SIDES = ("XMin", "YMin", "XMax", "YMax")
_SAME = 1e-4  # of a side; corners have six decimals
_MACHINES = frozenset({"activemil"})  # boxes of a model that a person accepted


class OpenImagesReader(Reader):
    """Reads an image with its boxes, masks and narratives."""

    summary: ClassVar[str] = "Open Images: CSV files of boxes and masks, classes, and localized narratives"

    def __init__(self, given: Given) -> None:
        folder = folder_of(given.place)
        looks = list(Look(given.place, given.encoding).files())
        beside = list(Look(folder, given.encoding).files())
        self._boxes = [_rows(look, given) for look in looks if set(look.header) >= _BOXES]
        self._masks = [_rows(look, given) for look in looks if set(look.header) >= _MASKS]
        if not self._boxes and not self._masks:
            raise SourceError(f"{given.place} holds no CSV file of boxes or masks of Open Images")
        self._classes = dict(pair for look in beside if _is_classes(look) for pair in _read_classes(look))
        self._narratives = [JsonLines(look.place, given.encoding) for look in beside if _is_narratives(look)]
        tables = [*self._boxes, *self._masks]
        self._splits: dict[str, str | None] = {}
        for table in tables:
            split = split_of_words(table.path.name)
            for image_id in table.keys:
                self._splits.setdefault(image_id, split)
        owners = {image_id: number for number, image_id in enumerate(self._splits)}
        self._owners, self._texts = owners, Postings()
        for place, lines in enumerate(self._narratives):
            for number in range(len(lines)):
                owner = owners.get(lines[number].get("image_id"))
                if owner is not None:
                    self._texts.add(owner, place, number, 0)
        self._texts.group(len(owners))
        self._files = Files(folder, ())
        self._pngs = {PurePosixPath(name).name: name for name in names_below(folder, ".png")} if self._masks else {}
        self.indexes = (*tables, *self._narratives)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file, or one at the top of the folder, has boxes or masks of Open Images."""
        return any(set(one.header) >= columns for one in look.files() for columns in (_BOXES, _MASKS))

    def handles(self) -> Iterator[str]:
        """Yield the ids of the images."""
        yield from self._splits

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its boxes, masks and narratives."""
        if not handle:
            raise ValueError("rows have no ImageID")
        masks = [row for table in self._masks for row in table.of(handle)]
        objects: list[GivenObject] = []
        for row in (row for table in self._boxes for row in table.of(handle)):
            mask = next((one for one in masks if _is_of(one, row)), None)
            masks = [one for one in masks if one is not mask]
            objects.append(self._object(len(objects), row, mask))
        objects += [self._object(len(objects) + number, {}, mask) for number, mask in enumerate(masks)]
        split = self._splits[handle]
        texts = self._texts.of(self._owners[handle])
        return GivenImage(
            handle,
            names=(*((f"{split}/{handle}.jpg",) if split else ()), f"{handle}.jpg", handle),
            are_shares=True,
            texts=tuple(GivenText(self._narratives[place][number]["caption"]) for place, number, _ in texts),
            objects=tuple(objects),
            split=split,
        )

    def _object(self, number: int, row: Mapping[str, str], mask: Mapping[str, str] | None) -> GivenObject:
        """Return the object of a row of boxes, of masks, or of both."""
        label = row.get("LabelName") or (mask or {}).get("LabelName")
        box = _box(row, "") if row else _box(mask or {}, "Box")
        path = None if mask is None else PurePosixPath(mask["MaskPath"]).name
        return GivenObject(
            str(number),
            self._classes.get(label or ""),
            box,
            None if path is None else partial(self._mask, path),
            is_crowd=row.get("IsGroupOf") == "1",
            maker=Maker.MODEL if mask is None and row.get("Source") in _MACHINES else Maker.HUMAN,
            source_id=None if mask is None else spelled(mask.get("BoxID")),
        )

    def _mask(self, name: str) -> BoolArray:
        return read_foreground(self._files.read(self._pngs.get(name, name)))

    def label_map(self) -> LabelMap:
        """Return the classes."""
        return tuple(Category(number, name) for number, name in self._classes.items())


def _rows(look: Look, given: Given) -> CsvRows:
    return CsvRows(look.place, "ImageID", given.encoding)


def _box(row: Mapping[str, str], prefix: str) -> Box | None:
    """Return the corners of a row as a box, in shares; None where one is missing or is no number."""
    try:
        left, top, right, bottom = (float(row[prefix + side]) for side in _SIDES)
    except (KeyError, ValueError):
        return None
    return corners(left, top, right, bottom) if all(map(math.isfinite, (left, top, right, bottom))) else None


def _is_of(mask: Mapping[str, str], row: Mapping[str, str]) -> bool:
    """Return whether a mask belongs to a box: of one class, with the same corners."""
    first, second = _box(mask, "Box"), _box(row, "")
    if first is None or second is None or mask.get("LabelName") != row.get("LabelName"):
        return False
    return max(abs(one - other) for one, other in zip(first, second, strict=True)) < _SAME


def _is_classes(look: Look) -> bool:
    cells = look.header
    return len(cells) == 2 and (cells[0].startswith(("/m/", "/g/")) or cells[0] == "LabelName")


def _read_classes(look: Look) -> Iterator[tuple[str, str]]:
    for cells in map(cells_of, look.start.splitlines()):
        if len(cells) == 2 and cells[0].startswith("/") and cells[1].strip():
            yield cells[0], cells[1].strip()


def _is_narratives(look: Look) -> bool:
    line = look.first_line
    return isinstance(line, dict) and {"image_id", "caption"} <= line.keys()
