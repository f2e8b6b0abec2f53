"""Curves from literal numbers: means over questions, intervals over records, columns as they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hi_scoring.interventions.knockout import FlowResult, QuestionResult
from hi_scoring.interventions.knockout_tables import PART_SCHEMA, KnockoutTables, part_row
from tests.hi_scoring.interventions.asking import question


def result(p: float, curve: list[float], control: list[float], *, right: bool = True, overlap: float = 0) -> Any:
    flows = {"image -> last": FlowResult(np.array(curve), np.array(control), overlap)}
    tracking = np.stack([np.full((3, 4), p), np.full((3, 4), p / 2)])
    tracking[:, :, 2:] = np.nan
    return QuestionResult("red", right, p, flows, tracking)


# Record, number, category, and what was found.
FOUND = [
    ("a", 0, "colour", result(0.5, [0.25, 0.5], [0.5, 0.45])),
    ("a", 1, "size", result(0.8, [0.8, 0.4], [0.8, 0.8], overlap=0.5)),
    ("b", 0, "colour", result(0.4, [0.3, 0.4], [0.4, 0.4])),
    ("c", 0, "colour", result(0.2, [0.1, 0.1], [0.1, 0.1], right=False)),
]


def tables(*, only_correct: bool, found: list[Any] = FOUND) -> KnockoutTables:
    rows = [
        part_row(question(record_id=record, number=number, category=category, options=(), answer="red"), one)
        for record, number, category, one in found
    ]
    return KnockoutTables.of(pa.Table.from_pylist(rows, PART_SCHEMA), only_correct=only_correct)


@pytest.fixture(autouse=True)
def numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions of any number be made."""
    from tests.hi_scoring.interventions import asking

    monkeypatch.setattr(asking, "sample", lambda number: asking.question.__globals__["_sample"](number))
