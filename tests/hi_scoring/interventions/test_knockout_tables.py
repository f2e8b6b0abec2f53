"""Curves from literal numbers: means over questions, intervals over images, written columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datasetkit.hi_scoring.interventions.knockout import FlowResult, QuestionResult
from datasetkit.hi_scoring.interventions.knockout_tables import PART_SCHEMA, KnockoutTables, part_row
from datasetkit.hi_scoring.statistics import bootstrap_interval
from tests.hi_scoring.interventions.asking import question


def result(p: float, curve: list[float], control: list[float], *, right: bool = True, overlap: float = 0) -> Any:
    flows = {"image -> last": FlowResult(np.array(curve) / p, np.array(control) / p, overlap)}
    tracking = np.stack([np.full((3, 4), p), np.full((3, 4), p / 2)])
    tracking[:, :, 2:] = np.nan
    return QuestionResult("red", right, p, flows, tracking)


# Image, record, number, category, and result.
FOUND = [
    ("x", "a", 0, "colour", result(0.5, [0.25, 0.5], [0.5, 0.45])),
    ("x", "a", 1, "size", result(0.8, [0.8, 0.4], [0.8, 0.8], overlap=0.5)),
    ("y", "b", 0, "colour", result(0.4, [0.3, 0.4], [0.4, 0.4])),
    ("z", "c", 0, "colour", result(0.2, [0.1, 0.1], [0.1, 0.1], right=False)),
]


def tables(*, only_correct: bool, found: list[Any] = FOUND) -> KnockoutTables:
    rows = [
        part_row(
            question(picture_id=image, record_id=record, number=number, category=category, options=(), answer="red"),
            one,
        )
        for image, record, number, category, one in found
    ]
    return KnockoutTables.of(pa.Table.from_pylist(rows, PART_SCHEMA), only_correct=only_correct)


def test_questions_are_written_one_row_each() -> None:
    found = tables(only_correct=True)
    assert found.questions.select(["record_id", "number", "is_right", "p"]).to_pylist()[1] == {
        "record_id": "a",
        "number": 1,
        "is_right": True,
        "p": 0.8,
    }
    assert found.questions["false_option"].to_pylist() == [None] * 4
    rows = found.knockout.to_pylist()
    assert [(row["record_id"], row["number"], row["layer"]) for row in rows] == [
        (record, number, layer) for _, record, number, _, _ in FOUND for layer in (0, 1)
    ]
    assert rows[3] == {
        "picture_id": "x",
        "record_id": "a",
        "number": 1,
        "category": "size",
        "flow": "image -> last",
        "layer": 1,
        "p": 0.4,
        "change": -50.0,
        "control_p": 0.8,
        "control_change": 0.0,
        "overlap": 0.5,
    }
    tracked = found.tracking.to_pylist()
    assert len(tracked) == 4 * 2 * 3
    assert tracked[0] | {"token": None} == {
        "picture_id": "x",
        "record_id": "a",
        "number": 0,
        "category": "colour",
        "token": None,
        "layer": 0,
        "p": 0.5,
        "p_unnormed": 0.25,
    }
    assert [row["token"] for row in tracked[:6:3]] == ["answer", "Answer"]


def curve(found: KnockoutTables, category: str, column: str) -> list[float]:
    curves = found.curves
    return curves.loc[curves["category"] == category, column].tolist()


def test_curves_are_means_over_counted_questions() -> None:
    found = tables(only_correct=True)
    # Changes are -50, 0 and -25 % at layer 0, and 0, -50 and 0 % at layer 1.
    assert curve(found, "all", "change") == pytest.approx([-25, -50 / 3])
    assert curve(found, "all", "control") == pytest.approx([0, -10 / 3])
    assert curve(found, "all", "difference") == pytest.approx([-25, -40 / 3])
    assert curve(found, "all", "n") == [3, 3]
    assert curve(found, "all", "overlap") == pytest.approx([0.5 / 3] * 2)
    assert curve(found, "colour", "change") == pytest.approx([-37.5, 0])
    assert curve(found, "size", "n") == [1, 1]
    assert np.isnan([curve(found, "size", end) for end in ("change_low", "change_band_low")]).all()
    assert curve(tables(only_correct=False), "all", "n") == [4, 4]
    assert curve(tables(only_correct=False), "all", "change") == pytest.approx([-31.25, -25])


@pytest.mark.parametrize("record", ["a", "another"])
def test_intervals_resample_images_with_all_questions(record: str) -> None:
    """Image x has two questions, at -50 and 0 %: its mean is -25, like that of image y, so all draws agree."""
    image, _, *rest = FOUND[1]
    found = tables(only_correct=True, found=[FOUND[0], (image, record, *rest), *FOUND[2:]])
    for end in ("change_low", "change_high", "change_band_low", "change_band_high"):
        assert curve(found, "all", end)[0] == pytest.approx(-25)
    # If no image has two questions, they are those of the plain bootstrap.
    changes = np.array([[-50.0, 0], [-25, 0]])
    low, high = bootstrap_interval(changes)
    assert curve(found, "colour", "change_low") == pytest.approx(low.tolist())
    assert curve(found, "colour", "change_high") == pytest.approx(high.tolist())


def test_control_curves_use_questions_with_a_control() -> None:
    without = ("w", "d", 0, "colour", result(0.5, [0.1, 0.5], [np.nan, np.nan], overlap=0.9))
    found = tables(only_correct=True, found=[*FOUND, without])
    assert (curve(found, "all", "n"), curve(found, "all", "n_control")) == ([4, 4], [3, 3])
    assert curve(found, "all", "change") == pytest.approx([(-75 - 80) / 4, -50 / 4])
    assert curve(found, "all", "difference") == pytest.approx([-25, -40 / 3])
    assert np.isfinite(curve(found, "all", "difference_band_high")).all()
    none = tables(only_correct=True, found=[without, without])
    assert curve(none, "all", "n_control") == [0, 0]
    for column in ("control", "difference", "control_low", "difference_band_low"):
        assert np.isnan(curve(none, "all", column)).all()
    assert curve(none, "all", "change") == pytest.approx([-80, 0])
    assert np.isnan([row["control_change"] for row in none.knockout.to_pylist()]).all()


def test_tracking_curves_skip_missing_tokens() -> None:
    curves = tables(only_correct=True).tracking_curves
    every = curves[curves["category"] == "all"]
    assert every["token"].unique().tolist() == ["answer", "Answer"]
    assert every["p"].tolist() == pytest.approx([(0.5 + 0.8 + 0.4) / 3] * 6)
    assert every["p_unnormed"].tolist() == pytest.approx([(0.5 + 0.8 + 0.4) / 6] * 6)
    assert every["n"].tolist() == [3] * 6


def test_one_category_is_all() -> None:
    assert tables(only_correct=True, found=[FOUND[0], FOUND[2]]).curves["category"].unique().tolist() == ["all"]


def test_empty_tables_keep_their_columns() -> None:
    found = tables(only_correct=True, found=[FOUND[3]])
    assert found.knockout.num_rows == 2
    assert not len(found.curves)
    assert tables(only_correct=True, found=[]).knockout.column_names == found.knockout.column_names
