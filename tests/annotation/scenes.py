"""Tiny records for the tests of alignment and salience."""

from __future__ import annotations

import numpy as np

from datasetkit.core.mask import Mask
from datasetkit.core.record import EncodedImage, KeyObject, Provenance, Record

SIDE = 40


def mask(left: int, top: int, width: int, height: int) -> Mask:
    pixels = np.zeros((SIDE, SIDE), dtype=np.bool_)
    pixels[top : top + height, left : left + width] = True
    return Mask.from_array(pixels)


def record(description: str | None, categories: str) -> Record:
    """Make a record with one 4x4 object for each category, side by side.

    A star after a name marks a crowd, a tilde an object without a mask; a question mark is an unknown category.
    """
    names = categories.split(",") if categories else []
    objects = tuple(
        KeyObject(
            id=index,
            mask=None if "~" in name else mask(4 * (index % 10), 8 * (index // 10), 4, 4),
            category=name.strip(" *~?") or None,
            is_crowd="*" in name,
        )
        for index, name in enumerate(names)
    )
    return Record(
        record_id="1/1",
        image_id="1",
        image=EncodedImage(b"unread", "one.png", SIDE, SIDE),
        description=description,
        source=Provenance("one.png", "unknown", "0" * 64),
        objects=objects,
    )
