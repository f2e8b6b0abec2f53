"""CVAT for images 1.1: an XML file with boxes, polygons and masks of all images.

Source: docs.cvat.ai, XML annotation format; open-edge-platform/datumaro, ``plugins/data_formats/cvat/base.py``. Corners
of a box are px, the second one exclusive; ``rotation`` turns it clockwise about its middle, and the box around it is
read. Runs of a mask go row by row through its crop, background first. Lines, points and tags are no objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any, ClassVar
from xml.etree.ElementTree import Element

import numpy as np

from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenImage, GivenObject
from datasetkit.core.label_map import Category, LabelMap
from datasetkit.core.ledger import PassedOverKind
from datasetkit.core.mask import BoolArray
from datasetkit.core.record import Maker
from datasetkit.sources.coco_values import spelled, whole
from datasetkit.sources.given.drawn import around, check_pixels, ellipse, flat, placed, rectangle, turned
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader
from datasetkit.sources.given.xml import XmlElements

_NO_SPLIT = "default"  # CVAT's name for images without a subset
_OTHERS = frozenset({"polyline", "points", "tag", "cuboid", "skeleton"})


class CvatReader(Reader):
    """Reads an image with its shapes."""

    summary: ClassVar[str] = "CVAT for images 1.1: annotations.xml"

    def __init__(self, given: Given) -> None:
        look = Look(given.place, given.encoding)
        found = [one for one in look.files() if _is_cvat(one)] if look.is_folder else [look]
        if len(found) != 1:
            raise SourceError(f"{given.place} has {len(found)} files of CVAT; give one of them as PATH")
        self._images = XmlElements(found[0].place, "image", given.encoding)
        self._meta = XmlElements(found[0].place, "meta", given.encoding)
        self.indexes = (self._images,)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the file, or one at the top of the folder, has images below the tag annotations."""
        return any(_is_cvat(one) for one in look.files())

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the images."""
        yield from range(len(self._images))

    def read(self, handle: Any) -> GivenImage:
        """Read one image with its shapes."""
        image = self._images[handle]
        name = image.attrib["name"].replace("\\", "/")
        split = image.get("subset") or _NO_SPLIT
        size_wh = whole(image.get("width")), whole(image.get("height"))
        size_hw = size_wh[1] or 0, size_wh[0] or 0
        others = Counter(shape.tag for shape in image if shape.tag in _OTHERS)
        return GivenImage(
            name,
            names=tuple(PurePosixPath(one).as_posix() for one in (name, f"images/{name}", f"images/{split}/{name}")),
            size_wh=size_wh,
            objects=tuple(
                _object(str(number), shape, size_hw)
                for number, shape in enumerate(image)
                if shape.tag in {"box", "polygon", "ellipse", "mask"}
            ),
            split=None if split == _NO_SPLIT else split,
            passed_over={
                (PassedOverKind.OTHER_COLUMN, f"shapes of type {tag}"): count for tag, count in others.items()
            },
        )

    def label_map(self) -> LabelMap:
        """Return the labels of the task, or of the project."""
        elements = (name for number in range(len(self._meta)) for name in self._meta[number].iterfind(".//label/name"))
        names = dict.fromkeys(name for name in (spelled(element.text) for element in elements) if name is not None)
        return tuple(Category(number, name) for number, name in enumerate(names))


def _is_cvat(look: Look) -> bool:
    return look.root_tag == "annotations" and b"<image " in look.start


def _object(key: str, shape: Element, size_hw: tuple[int, int]) -> GivenObject:
    """Return the object of a shape; one that is malformed has neither a box nor a mask, and is dropped."""
    category = spelled(shape.get("label"))
    maker = Maker.MODEL if shape.get("source") == "auto" else Maker.HUMAN
    try:
        box, mask = None, None
        degrees = float(shape.get("rotation") or 0)
        if shape.tag == "box":
            left, top, right, bottom = (float(shape.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
            corners = rectangle(left, top, right, bottom)
            box = left, top, right - left, bottom - top
            box = around(turned(corners, ((left + right) / 2, (top + bottom) / 2), degrees)) if degrees else box
        elif shape.tag == "ellipse":
            x, y, *radii = (float(shape.attrib[name]) for name in ("cx", "cy", "rx", "ry"))
            mask = [flat(ellipse((x, y), (radii[0], radii[1]), degrees))]
        elif shape.tag == "polygon":
            mask = [[float(one) for point in shape.attrib["points"].split(";") for one in point.split(",")]]
        else:
            left, top, width, height = (int(float(shape.attrib[n])) for n in ("left", "top", "width", "height"))
            return GivenObject(
                key,
                category,
                None,
                partial(_drawn, shape.attrib["rle"], (left, top, width, height), size_hw),
                maker=maker,
            )
    except (KeyError, ValueError, OverflowError):
        return GivenObject(key, category)
    return GivenObject(key, category, box, mask, maker=maker)


def _drawn(text: str, crop: tuple[int, int, int, int], size_hw: tuple[int, int]) -> BoolArray:
    left, top, width, height = crop
    check_pixels(width, height)
    runs = [int(run) for run in text.split(",")]
    if min(runs) < 0 or sum(runs) != width * height:
        raise ValueError(f"run lengths must not be negative, and add up to {width * height}")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return placed(pixels.reshape(height, width), left, top, size_hw)
