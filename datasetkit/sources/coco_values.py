"""Values of COCO's entries as various tools write them. Owns which variants are harmless, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.mask import Box, Mask, part_fault
from datasetkit.core.record import box_inside

_FARTHEST_PX = 2**31
_WHOLE = re.compile(r"([+-]?\d{1,18})(\.0*)?", re.ASCII)
# The repr of bytes in Python; run lengths contain no quotes, and of their characters only the backslash is doubled.
_BYTES = re.compile(r"b'.*'|b\".*\"", re.DOTALL)
_YES = frozenset({"1", "1.0", "true", "yes"})
_RESPELLED = frozenset({NoticeKind.SEGMENTATION_RESPELLED})


def whole(value: object) -> int | None:
    """Return the whole number written as ``7``, ``7.0``, ``"7"`` or ``"007"``, or None."""
    if type(value) is int:
        return value
    if isinstance(value, str):
        match = _WHOLE.fullmatch(value.strip())
        return int(match[1]) if match else None
    return int(value) if isinstance(value, float) and value.is_integer() else None


def identity(value: object) -> int | str | None:
    """Return what an id is compared by: 7 for ``7``, ``7.0`` and ``"007"``, any other text itself; None if unset."""
    number = whole(value)
    return spelled(value) if number is None and isinstance(value, str) else number


def spelled(value: object) -> str | None:
    """Return an id as it is published: a text as it is, a number in digits; None without an id."""
    if isinstance(value, str):
        return value.strip().encode("utf-8", "replace").decode("utf-8") or None
    number = whole(value)
    return None if number is None else str(number)


def is_crowd(value: object) -> bool:
    """Return whether ``iscrowd`` is set: by 1, true or ``"1"``, but not by ``"0"``, null or NaN."""
    if isinstance(value, str):
        return value.strip().casefold() in _YES
    return isinstance(value, int | float) and value != 0 and value == value


def read_box(value: object) -> Box | None:
    """Return a list of four numbers as a box, or None if it is anything else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(number, int | float) and abs(number) <= _FARTHEST_PX for number in value):  # false for NaN
        return None
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])


def read_shape(
    annotation: Mapping[str, Any], size_hw: tuple[int, int], *, ignored: bool
) -> tuple[Mask | None, Box | None, dict[NoticeKind, str]]:
    """Read an instance's mask, or its box as far as it is known if there is no mask, and notices with their details.

    Raises:
        UnusableError: ``outside_image``; no part of the instance is inside the image.

    """
    segmentation = annotation.get("segmentation")
    stated = read_box(annotation.get("bbox")) or _points_box(segmentation)
    inside = stated and box_inside(stated, size_hw)
    if ignored:
        return None, inside, {NoticeKind.INSTANCE_WITHOUT_MASK: "a crowd; --crowds ignore leaves out its mask"}
    if segmentation is None or segmentation == []:
        known = "a box" if inside else "its category"
        return (
            None,
            inside,
            {NoticeKind.INSTANCE_WITHOUT_MASK: f"there is no segmentation; only {known} is known"},
        )
    try:
        sound, odd = sound_segmentation(segmentation, size_hw)
        return Mask.from_coco(sound, size_hw), None, dict.fromkeys(sorted(odd), "")
    except UnusableError as error:
        # A box without area may still show where the instance is.
        if error.reason is DropReason.OUTSIDE_IMAGE and stated and min(stated[2:]) > 0 and inside is None:
            raise
        return None, inside, {NoticeKind.INSTANCE_WITHOUT_MASK: f"{error.reason}: {error.detail}"}


def _points_box(segmentation: object) -> Box | None:
    """Return the box (left, top, width, height), px, around polygon points, valid or not; None without points."""
    parts = segmentation if isinstance(segmentation, list) else []
    parts = [parts] if all(map(_is_number, parts)) else parts
    flat = [part for part in map(_flattened, parts) if isinstance(part, list) and all(map(_is_number, part))]
    points = [point for part in flat for point in zip(part[0::2], part[1::2], strict=False)]
    points = [point for point in points if all(abs(number) <= _FARTHEST_PX for number in point)]  # false for NaN
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return read_box([min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]) if xs and ys else None


def sound_segmentation(value: Any, size_hw: tuple[int, int]) -> tuple[Any, frozenset[NoticeKind]]:
    """Return a segmentation without its harmless faults, and what these were.

    A flat list of numbers, or of points, becomes a polygon of one part; invalid parts are left out if others are valid;
    run lengths and sizes that are written as floats become whole numbers, and b'...' becomes its text.
    """
    if isinstance(value, list):
        return _sound_polygons(value, size_hw)
    if not isinstance(value, Mapping):
        return value, frozenset()
    repaired = {key: _plain_value(item) for key, item in value.items()}
    if all(one is other for one, other in zip(value.values(), repaired.values(), strict=True)):
        return value, frozenset()
    return repaired, _RESPELLED


def _plain_value(value: Any) -> Any:
    """Return a value of run lengths in its plain form: whole numbers, and text that is not written as b'...'."""
    if isinstance(value, list) and not all(type(number) is int for number in value):
        numbers = [whole(number) for number in value]
        return value if None in numbers else numbers
    if isinstance(value, str) and _BYTES.fullmatch(value):
        return value[2:-1].replace("\\\\", "\\")
    return value


def _sound_polygons(value: list[Any], size_hw: tuple[int, int]) -> tuple[Any, frozenset[NoticeKind]]:
    notices: set[NoticeKind] = set()
    parts = value
    if value and (all(map(_is_number, value)) or (len(value) > 2 and all(map(_is_point, value)))):
        parts = [value]
    flat = [_flattened(part) for part in parts]
    if parts is not value or flat != parts:
        notices.add(NoticeKind.SEGMENTATION_RESPELLED)
    sound = [part for part in flat if part_fault(part, size_hw) is None]
    if not sound:
        return flat, frozenset(notices)
    if len(sound) < len(flat):
        notices.add(NoticeKind.POLYGON_PART_DROPPED)
    return sound, frozenset(notices)


def _flattened(part: Any) -> Any:
    """Return a part of points [[x, y], ...] as numbers, any other part as it is."""
    if isinstance(part, list) and part and all(map(_is_point, part)):
        return [number for point in part for number in point]
    return part


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
