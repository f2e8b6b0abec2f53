"""Values of a published row. Owns what each column may contain, and the one-line error that names an invalid cell.

Rows come from our shards, but also from tables that other programs or users have changed: any cell may be null, an
unknown constant, or a number out of range. Readers of whole rows and of single columns use this module, so that all of
them refuse the same cells. :mod:`datasetkit.core.record` checks conditions on several cells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np

from datasetkit.core.errors import RecordError
from datasetkit.core.record import Linker, Maker, ObjectStatus, PhraseKind, PhraseStatus, Scores
from datasetkit.core.text import one_line

_MOST_SHOWN = 60
_INT32_END = 2**31


@dataclass(frozen=True, slots=True)
class _Cell:
    """Rule for one value: whether it is allowed, and what is, in words."""

    allows: Callable[[Any], bool]
    allowed: str
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class _List:
    """Rule for a list: that of its items."""

    of: _Rule
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class _Struct:
    """Rule for a mapping: one per name."""

    of: Mapping[str, _Rule]
    is_nullable: bool = False


_Rule = _Cell | _List | _Struct


def _is_whole(value: object, least: int, end: int = _INT32_END) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and least <= int(value) < end


def _is_unit(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and 0.0 <= float(value) <= 1.0  # NaN fails this


def _is_box(value: object) -> bool:
    return (
        isinstance(value, list | tuple | np.ndarray)
        and len(value) == 4
        and all(isinstance(side, Real) and math.isfinite(side) for side in value)
    )


def _is_size(value: object) -> bool:
    return (
        isinstance(value, list | tuple | np.ndarray) and len(value) == 2 and all(_is_whole(side, 1) for side in value)
    )


def _is_image(value: object) -> bool:
    return isinstance(value, bytes) and bool(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _one_of(kind: type[StrEnum], *, is_nullable: bool = False) -> _Cell:
    names = frozenset(item.value for item in kind)
    return _Cell(lambda value: isinstance(value, str) and value in names, ", ".join(sorted(names)), is_nullable)


def _whole(least: int, end: int = _INT32_END, *, is_nullable: bool = False) -> _Cell:
    return _Cell(partial(_is_whole, least=least, end=end), f"a whole number from {least} to {end - 1:,}", is_nullable)


_TEXT = _Cell(_is_text, "text")
_NAME = _Cell(_is_name, "non-empty text")
_NAME_OR_NULL = _Cell(_is_name, "non-empty text", is_nullable=True)
_TEXT_OR_NULL = _Cell(_is_text, "text", is_nullable=True)
_FLAG = _Cell(lambda value: isinstance(value, bool | np.bool_), "true or false")
_UNIT = _Cell(_is_unit, "a number in [0, 1]", is_nullable=True)
_BOX = _Cell(_is_box, "four finite numbers (left, top, width, height)", is_nullable=True)
_IMAGE = _Struct({"bytes": _Cell(_is_image, "an encoded image"), "path": _NAME})
_OVERLAY = _Struct({"bytes": _IMAGE.of["bytes"], "path": _TEXT_OR_NULL})
_MAKER = _one_of(Maker, is_nullable=True)
_OBJECT = _Struct(
    {
        "id": _whole(0),
        "mask": _Struct({"size": _Cell(_is_size, "height and width, px"), "counts": _TEXT}, is_nullable=True),
        "bbox": _BOX,
        "area": _whole(1, 2**63, is_nullable=True),
        "category": _NAME_OR_NULL,
        "is_key": _FLAG,
        "salience": _UNIT,
        "is_crowd": _FLAG,
        "status": _one_of(ObjectStatus),
        "scores": _Struct({item.name: _UNIT for item in fields(Scores)}),
        "source_bbox": _BOX,
        "provenance": _Struct({"box": _MAKER, "mask": _MAKER}, is_nullable=True),
        "source_id": _TEXT_OR_NULL,
    }
)
_PHRASE = _Struct(
    {
        "text": _NAME,
        "start": _whole(0),
        "end": _whole(1),
        "object_ids": _List(_whole(0)),
        "candidates": _List(_Struct({"object_id": _whole(0), "score": _UNIT})),
        "score": _UNIT,
        "status": _one_of(PhraseStatus),
        "reason": _TEXT_OR_NULL,
        "provenance": _one_of(Linker, is_nullable=True),
        "kind": _one_of(PhraseKind, is_nullable=True),
    }
)
_QUESTION = _Struct(
    {"question": _NAME, "answer": _NAME, "type": _TEXT, "options": _List(_TEXT), "object_ids": _List(_whole(0))}
)
# Columns that schema 1.0 lacks may be null.
_ROW: Mapping[str, _Rule] = {
    "image": _IMAGE,
    "overlay": _OVERLAY,
    "image_id": _NAME,
    "width": _whole(1),
    "height": _whole(1),
    "description": _NAME_OR_NULL,
    "objects": _List(_OBJECT),
    "phrases": _List(_PHRASE),
    "questions": _List(_QUESTION),
    "source": _Struct({"uri": _TEXT, "license": _NAME, "sha256": _Cell(_is_sha256, "64 hexadecimal digits")}),
    "absent_categories": _List(_TEXT, is_nullable=True),
    "partial_categories": _List(_TEXT, is_nullable=True),
    "language": _TEXT_OR_NULL,
    "record_id": _NAME,
}
_MAY_LACK = frozenset({"overlay"})


def check_row(row: Mapping[str, Any], *columns: str, is_whole: bool = False) -> None:
    """Refuse a row with a cell that is invalid in published rows.

    Args:
        row: values by column, as in Arrow; unknown columns are not checked.
        columns: columns to check; empty for all columns of the row.
        is_whole: whether missing columns (except ``overlay``) and parts of columns count as null; otherwise they are
            skipped.

    Raises:
        RecordError: a cell is invalid; names the column (``objects[1].status``), its value and what is allowed.

    """
    for name in columns or _ROW:
        if name in row or (is_whole and name not in _MAY_LACK):
            for fault in _faults(row.get(name), _ROW[name], name, is_whole):
                raise RecordError(fault)


def _faults(value: Any, rule: _Rule, path: str, is_whole: bool) -> Iterator[str]:
    if value is None:
        if not rule.is_nullable:
            yield f"{path} is null; give {_allowed(rule)}"
    elif isinstance(rule, _Cell):
        if not rule.allows(value):
            yield f"{path} is {_shown(value)}; give {_allowed(rule)}"
    elif isinstance(rule, _List):
        if not isinstance(value, list | tuple | np.ndarray):
            yield f"{path} is {_shown(value)}; give {_allowed(rule)}"
            return
        for index, item in enumerate(value):
            yield from _faults(item, rule.of, f"{path}[{index}]", is_whole)
    elif not isinstance(value, Mapping):
        yield f"{path} is {_shown(value)}; give {_allowed(rule)}"
    else:
        for name, inner in rule.of.items():
            if is_whole or name in value:
                yield from _faults(value.get(name), inner, f"{path}.{name}", is_whole)


def _allowed(rule: _Rule) -> str:
    if isinstance(rule, _Cell):
        return f"{rule.allowed}, or null" if rule.is_nullable else rule.allowed
    return "a list" if isinstance(rule, _List) else f"a mapping of {', '.join(rule.of)}"


def _shown(value: Any) -> str:
    if isinstance(value, bytes | Sequence) and not isinstance(value, str) and len(value) > _MOST_SHOWN:
        return f"{type(value).__name__} of {len(value):,} items"
    shown = one_line(repr(value[: _MOST_SHOWN + 1] if isinstance(value, str) else value))
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
