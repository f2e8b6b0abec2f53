"""Counts of parts: their sum is the count of all rows, however the rows are divided, also through JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.record import ObjectStatus, PhraseStatus
from datasetkit.export.statistics.counter import StatisticsCounter
from datasetkit.export.statistics.model_scores import SCORE_NAMES
from datasetkit.export.statistics.statistics import Statistics

_UNIT = st.none() | st.floats(0, 1)
_NAMES = st.sampled_from(["cat", "dog", "Hund", "a b", "\u732b"])
_OBJECTS = st.fixed_dictionaries(
    {
        "area": st.none() | st.integers(1, 4000),
        "category": st.none() | _NAMES,
        "is_key": st.booleans(),
        "is_crowd": st.booleans(),
        "status": st.sampled_from([status.value for status in ObjectStatus]),
        "scores": st.fixed_dictionaries(dict.fromkeys(SCORE_NAMES, _UNIT)),
    }
)
_PHRASES = st.fixed_dictionaries(
    {
        "object_ids": st.lists(st.integers(0, 9), max_size=3),
        "candidates": st.lists(st.just({}), max_size=3),
        "status": st.sampled_from([status.value for status in PhraseStatus]),
        "reason": st.none() | _NAMES,
    }
)
_ROWS = st.fixed_dictionaries(
    {
        "width": st.integers(1, 5000),
        "height": st.integers(1, 5000),
        "description": st.none() | st.text(),
        "objects": st.lists(_OBJECTS, max_size=4),
        "phrases": st.lists(_PHRASES, max_size=4),
        "questions": st.lists(st.just({}), max_size=2),
        "source": st.fixed_dictionaries(
            {"license": _NAMES, "sha256": st.sampled_from([f"{number:016x}{'0' * 48}" for number in (0, 1, 2**64 - 1)])}
        ),
    }
)
_PARTS = st.lists(st.lists(st.tuples(st.sampled_from(["test", "train"]), _ROWS), max_size=4), max_size=5)


def counted(rows: list[tuple[str, dict[str, Any]]]) -> StatisticsCounter:
    counter = StatisticsCounter()
    for split, row in rows:
        counter.add_row(split, row)
        counter.add_bytes(split, len(str(row)))
    return counter


def written(statistics: Statistics) -> str:
    return json.dumps(statistics.to_json(), ensure_ascii=False)


@given(_PARTS)
def test_the_sum_of_parts_is_the_count_of_all_rows(parts: list[list[tuple[str, dict[str, Any]]]]) -> None:
    total = StatisticsCounter()
    for part in parts:
        total.update(StatisticsCounter.from_json(json.loads(json.dumps(counted(part).to_json()))))
    expected = counted([row for part in parts for row in part])
    assert written(total.finish()) == written(expected.finish())
    assert total.to_json() == expected.to_json()


def test_scores_in_single_precision_count_as_they_are_stored() -> None:
    value = np.float32(0.4925)  # 0.49250000715...: in single precision, 1000 times it is 492.5
    row = {"scores": dict.fromkeys(SCORE_NAMES), "area": 1, "category": None, "is_key": np.True_, "is_crowd": False}
    one, other = StatisticsCounter(), StatisticsCounter()
    for counter, score in ((one, value), (other, float(value))):
        item = row | {"status": "mentioned", "scores": row["scores"] | {"detection": score}}
        source = {"license": "cc0-1.0", "sha256": "0" * 64}
        rest = {"phrases": [], "questions": [], "description": None, "source": source}
        counter.add_row("train", {"width": 2, "height": 2, "objects": [item], **rest})
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("counts", "records"), -1),
        (("counts", "records"), "1"),
        (("histograms", "mask_share"), [1]),
        (("named", "licenses"), {"cc0-1.0": 0.5}),
        (("reasons", "matched"), None),
        (("scores", "detection"), [[1]]),
        (("images",), "AAAA"),
        (("images",), "!"),
    ],
)
def test_damaged_counts_are_refused(path: tuple[str, ...], value: object) -> None:
    counts = StatisticsCounter()
    counts.add_bytes("train", 7)
    damaged = json.loads(json.dumps(counts.to_json()))
    StatisticsCounter.from_json(damaged)
    where = damaged["train"]
    for name in path[:-1]:
        where = where[name]
    where[path[-1]] = value
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        StatisticsCounter.from_json(damaged)
