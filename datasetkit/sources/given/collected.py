"""Objects of an image, gathered one by one. Owns the rule that equal boxes and equal masks are one object."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import replace

from datasetkit.core.given import GivenObject
from datasetkit.core.mask import Box


class Collected:
    """Objects of one image; one that was added before is not added again."""

    def __init__(self) -> None:
        self._keys: dict[Hashable, str] = {}
        self._objects: list[GivenObject] = []

    def add(self, given: GivenObject) -> str:
        """Add an object, whose key is ignored; return the key of the object that has its category, box and mask."""
        mask = given.mask if callable(given.mask) else json.dumps(given.mask, sort_keys=True)
        key = self._keys.setdefault((given.category, given.box_xywh, mask), str(len(self._objects)))
        if int(key) == len(self._objects):
            self._objects.append(replace(given, key=key))
        return key

    @property
    def found(self) -> tuple[GivenObject, ...]:
        """The objects, in order."""
        return tuple(self._objects)


def corners(left: float, top: float, right: float, bottom: float) -> Box:
    """Return the box (left, top, width, height) between two corners, px, the second one exclusive."""
    return float(left), float(top), float(right) - float(left), float(bottom) - float(top)
