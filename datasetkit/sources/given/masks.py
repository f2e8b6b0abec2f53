"""Masks that are images. Owns which of their values are background, and which are objects.

0 is background. One other value is one object. Otherwise each value is an object: an id, or a colour; 255 is then the
border between objects. Values between 0 and 255 that cover few pixels are the soft edges of one object, as lossy
compression and scaling leave them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np

from datasetkit.core.decoding import decode
from datasetkit.core.given import GivenObject
from datasetkit.core.limits import ImageLimits
from datasetkit.core.mask import BoolArray

_VOID = 255
_HALF = 128
_MOST_IDS = 1024
_EDGE_SHARE = 0.1
_REMEMBERED = 8


def objects_in(data: bytes, name: str, category: str | None = None) -> list[GivenObject]:
    """Return the objects of a mask, by its values, in order.

    Raises:
        UnusableError: it cannot be decoded.
        ValueError: it has more values than objects have ids.

    """
    values, counts = np.unique(_values(data, name), return_counts=True)
    found = [int(value) for value in values if value]
    if len(found) > 1 and _has_soft_edges(values.tolist(), counts.tolist()):
        return [GivenObject(f"{name}/{_HALF}", category, mask=partial(_part, data, name, None))]
    if len(found) > 1 and found[-1] == _VOID:
        found.pop()
    if len(found) > _MOST_IDS:
        raise ValueError(f"{name} has {len(found)} values; it is no mask")
    return [GivenObject(f"{name}/{value}", category, mask=partial(_part, data, name, value)) for value in found]


def _has_soft_edges(values: Sequence[int], counts: Sequence[int]) -> bool:
    between = sum(count for value, count in zip(values, counts, strict=True) if 0 < value < _VOID)
    full = sum(count for value, count in zip(values, counts, strict=True) if value == _VOID)
    return values[-1] == _VOID and full > between and between <= _EDGE_SHARE * sum(counts)


def _part(data: bytes, name: str, value: int | None) -> BoolArray:
    values = _values(data, name)
    found: BoolArray = values >= _HALF if value is None else values == value
    return found


@lru_cache(_REMEMBERED)
def _values(data: bytes, name: str) -> np.ndarray:
    """Decode a mask to one number a pixel; a colour (R, G, B) is R * 65536 + G * 256 + B."""
    array = np.asarray(decode(data, name, ImageLimits()).image)
    if array.ndim == 2:
        return array.astype(np.int64)
    colours = array[:, :, : 1 if array.shape[2] < 3 else 3].astype(np.int64)
    if (colours == colours[:, :, :1]).all():
        return colours[:, :, 0]
    return colours @ np.array([65536, 256, 1])
