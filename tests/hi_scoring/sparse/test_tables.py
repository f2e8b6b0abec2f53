"""Costs and quality as tables, from hand-made results with known numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.evaluation.shifts import Cell, contrast
from datasetkit.hi_scoring.sparse.estimates import loss
from datasetkit.hi_scoring.sparse.tables import costs_table, quality_table
from datasetkit.hi_scoring.statistics import holm, p_as_drawn
from tests.hi_scoring.sparse.made import answers, lost, prefills, result

MIB, NAN = 2**20, float("nan")


def costs(table: pd.DataFrame) -> Mapping[Any, Any]:
    [row] = costs_table({"core": (result("core", table),)}).to_dict("records")
    return row


def test_ratios_have_an_interval_and_quartiles() -> None:
    seconds = [1.0, 0.5, 1.0, 2.0, 0.8, 1.25]
    row = costs(prefills(seconds=seconds))
    ratios = 2 / np.array(seconds)
    assert row["speedup"] == pytest.approx(np.median(ratios))
    assert (row["speedup_q25"], row["speedup_q75"]) == pytest.approx(tuple(np.quantile(ratios, [0.25, 0.75])))
    assert 1 <= row["speedup_low"] < row["speedup"] < row["speedup_high"] <= 4
    assert (row["seconds_dense"], row["seconds"]) == (2.0, 1.0)


def test_lost_prompts_are_counted_separately() -> None:
    tables = [lost(prefills(seconds=[1.0] * 5, kl=[0, 1, 2, 3, 4]), 4), lost(prefills(seconds=[0.5] * 5), 1)]
    groups = {"random": tuple(result("random", table, draw=draw) for draw, table in enumerate(tables))}
    [row] = costs_table(groups).to_dict("records")
    assert {name: row[name] for name in ("runs", "n", "measured", "lost")} == {
        "runs": 2,
        "n": 5,
        "measured": 3,
        "lost": 2,
    }
    assert row["speedup"] == 3.0
    # Means over images of their measurements.
    assert row["kl"] == pytest.approx(np.mean([0.05, 1.0, 1.05, 1.55, 0.1]))


def test_fully_lost_group_is_not_measured() -> None:
    row = costs(lost(prefills(seconds=[1.0, 1.0]), 0, 1))
    assert (row["n"], row["measured"], row["lost"]) == (2, 0, 2)
    names = ("tokens", "seconds", "speedup", "speedup_low", "speedup_q25", "memory", "peak", "kl", "same_token")
    assert np.isnan([row[name] for name in names]).all()


@pytest.mark.parametrize(
    ("dense", "sparse", "expected"),
    [
        ([100, 200, 300], [50, 150, 90], (200, 90, 0.5)),
        # Memory below 64 MiB is below the median, whatever it is.
        ([100, 200, 300], [NAN, 150, 240], (200, 150, 0.75)),
        # The best savings are not measurable: for the rest only, the ratio would be 0.9.
        ([100, 100, 100], [NAN, NAN, 90], (100, NAN, NAN)),
        ([100, 100, 100, 100], [NAN, NAN, 90, 90], (100, NAN, NAN)),
        # The dense model's memory is measurable for too few prompts.
        ([NAN, NAN, 100], [NAN, NAN, 90], (NAN, NAN, NAN)),
        ([NAN, 100, 100], [NAN, 80, 90], (100, 80, 0.85)),
        ([NAN, NAN], [NAN, NAN], (NAN, NAN, NAN)),
        ([0, 0], [0, 0], (0, 0, NAN)),
    ],
)
def test_memory_is_known_if_unseen_values_do_not_matter(
    dense: list[float], sparse: list[float], expected: tuple[float, ...]
) -> None:
    row = costs(prefills(peak_dense=np.multiply(dense, MIB), peak=np.multiply(sparse, MIB)))
    found = (row["peak_dense"] / MIB, row["peak"] / MIB, row["memory"])
    assert found == pytest.approx(expected, nan_ok=True)


DENSE = answers([1, 1, 1, 0.8, 1, 1, 0.9, 1], cider=[2, 2, 1, 2, 3, 2, 2, 2])
CORE = answers([1, 1, 0.9, 0.8, 1, 0.8, 0.9, 1], cider=[2, 2, 1, 2, 3, 2, 2, 1.9])
RANDOM = [
    answers([0.1, 0.2, 0.1, 0, 0.3, 0.2, 0.1, 0], cider=[1, 0, 1, 0, 2, 1, 1, 0]),
    answers([0.2, 0.2, 0.1, 0.1, 0.3, 0.1, 0.1, 0], cider=[0, 0, 1, 0, 1, 1, 1, 0]),
    answers([0.1, 0.3, 0, 0, 0.3, 0.2, 0.2, 0], cider=[2, 2, 1, 2, 2.9, 2, 2, 2]),
]


def quality(random: Sequence[Measured] = RANDOM, core: Measured = CORE) -> pd.DataFrame:
    groups = {
        "dense": (result("dense", measured=DENSE),),
        "core": (result("core", measured=core),),
        "random": tuple(result("random", measured=one, draw=draw) for draw, one in enumerate(random)),
    }
    table = quality_table({group: results for group, results in groups.items() if results})
    return table.set_index(["metric", "group", "against"])


def test_losses_are_those_of_the_core_heads_from_dense() -> None:
    table = quality()
    for metric in ("accuracy", "cider"):
        row = table.loc[metric, "core", "dense"]
        assert tuple(row[["loss", "loss_low", "loss_high"]]) == pytest.approx(loss(metric, DENSE, CORE))
        assert 0 < row["loss"] < 0.1
    others = table.drop(index=[(metric, "core", "dense") for metric in ("accuracy", "cider")])
    assert others[["loss", "loss_low", "loss_high"]].isna().all(axis=None)


def test_core_heads_must_exceed_random_spread() -> None:
    table = quality()
    against = table.xs(("core", "random"), level=["group", "against"])
    for metric in ("accuracy", "cider"):
        changes = [run.figure(metric) - DENSE.figure(metric) for run in RANDOM]
        expected = p_as_drawn(CORE.figure(metric) - DENSE.figure(metric), changes)
        assert against["p_sets"][metric] == pytest.approx(expected)
        assert against["p"][metric] == contrast(metric, Cell(DENSE, [CORE]), Cell(DENSE, RANDOM)).p_value
    # A random set is as good in one metric, so the CoRe heads may be one more of them: their spread decides.
    assert against["p_sets"]["cider"] > 0.05 > against["p_sets"]["accuracy"]
    assert table.drop(index=[(m, "core", "random") for m in ("accuracy", "cider")])["p_sets"].isna().all()
    tested = table["p"].copy()
    tested[against.index[0], "core", "random"] = max(against.iloc[0][["p", "p_sets"]])
    tested[against.index[1], "core", "random"] = max(against.iloc[1][["p", "p_sets"]])
    tested = tested.dropna()
    pd.testing.assert_series_equal(
        table["p_holm"].dropna(), pd.Series(holm(tested.to_numpy()), tested.index, name="p_holm")
    )


def test_one_random_set_has_no_spread() -> None:
    table = quality(RANDOM[:1])
    row = table.loc["accuracy", "core", "random"]
    assert row["p"] < 0.05
    assert np.isnan(row[["p_sets", "p_holm"]].astype(float)).all()


def test_no_random_sets_give_no_comparison() -> None:
    assert set(quality(()).index.get_level_values("against")) == {"dense"}


def test_question_types_are_not_tested() -> None:
    def typed(measured: Measured) -> Measured:
        return Measured(measured.sample_ids, {**measured.statistics, "accuracy:colour": measured.of("accuracy")})

    groups = {
        "dense": (result("dense", measured=typed(DENSE)),),
        "core": (result("core", measured=typed(CORE)),),
        "random": tuple(result("random", measured=typed(one), draw=draw) for draw, one in enumerate(RANDOM)),
    }
    table = quality_table(groups)
    rows = table[table["metric"] == "accuracy:colour"]
    assert rows["p_holm"].isna().all()
    assert rows["p"].notna().sum() == 3
    plain = quality().reset_index()
    assert table[table["metric"] != "accuracy:colour"]["p_holm"].tolist() == pytest.approx(
        plain["p_holm"].tolist(), nan_ok=True
    )
