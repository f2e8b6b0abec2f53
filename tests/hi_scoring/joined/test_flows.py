"""Contrasts of flows: images are resampled with all of their questions; without a control nothing is subtracted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.joined.flows import FlowContrasts, flow_contrasts
from tests.hi_scoring.joined.made import AS_TOLD, N, blocked

CONTRASTS = ("lower", "later", "less_than_to_question", "less_than_of_question")


def changed(found: Knockouts, *more: pd.DataFrame) -> Knockouts:
    table = pa.Table.from_pandas(pd.concat(more), preserve_index=False)
    return replace(found, tables=replace(found.tables, knockout=table))


def contrasts(found: Knockouts) -> FlowContrasts:
    measured = flow_contrasts(found)
    assert measured is not None
    return measured


@pytest.mark.parametrize("columns", [("number",), ("record_id",)], ids=["in one record", "in records of their own"])
def test_questions_of_one_image_count_once(tmp_path: Path, columns: tuple[str, ...]) -> None:
    found = Knockouts.load(blocked(tmp_path / "blocked", spread=20))
    rows = found.tables.knockout.to_pandas()
    again = {"number": rows["number"] + 1, "record_id": rows["record_id"] + " again"}
    once = contrasts(found)
    twice = contrasts(changed(found, rows, rows.assign(**{name: again[name] for name in columns})))
    assert (once.questions, twice.questions) == (N, 2 * N)
    assert once.lower.low < once.lower.value < once.lower.high
    for name in CONTRASTS:
        first, second = getattr(once, name), getattr(twice, name)
        assert [second.value, second.low, second.high] == pytest.approx([first.value, first.low, first.high])


def test_control_is_subtracted_if_all_questions_have_one(tmp_path: Path) -> None:
    found = Knockouts.load(blocked(tmp_path / "blocked"))
    rows = found.tables.knockout.to_pandas()
    lower = rows["control_change"].where(rows["layer"] > 1, -10.0)
    beyond = contrasts(changed(found, rows.assign(control_change=lower)))
    first, second, third, fourth = AS_TOLD["image -> question"]
    alone = (first + second - third - fourth) / 2
    assert beyond.has_control
    assert beyond.lower.value == pytest.approx(alone - 10, abs=0.5)
    lacks = lower.mask((rows["record_id"] == "record-3") & (rows["flow"] == "image -> question"))
    without = contrasts(changed(found, rows.assign(control_change=lacks)))
    assert (without.has_control, without.questions) == (False, N)
    assert without.lower.value == pytest.approx(alone, abs=0.5)


def test_flows_from_most_keys_have_no_control(tmp_path: Path) -> None:
    assert not contrasts(Knockouts.load(blocked(tmp_path / "most", overlap=0.93))).has_control
    assert contrasts(Knockouts.load(blocked(tmp_path / "half", overlap=0.5))).has_control


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    found = Knockouts.load(blocked(tmp_path / "blocked"))
    rows = found.tables.knockout.to_pandas()
    alone = contrasts(changed(found, rows.assign(picture_id="the only one")))
    assert alone.questions == N
    assert pd.isna([alone.lower.low, alone.lower.high]).all()


def test_missing_flow_leaves_nothing_to_compare(tmp_path: Path) -> None:
    losses = {name: loss for name, loss in AS_TOLD.items() if name != "image -> last"}
    assert flow_contrasts(Knockouts.load(blocked(tmp_path / "blocked", losses))) is None
