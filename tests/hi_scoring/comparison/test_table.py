"""Tables of a comparison checked by hand, what counts as a test, and verdicts from literal tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from datasetkit.hi_scoring.comparison.cells import CellResult
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.table import Verdict, contrasted, contrasts_table, shifts_table, verdicts
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.evaluation.shifts import Cell, contrast, shift, size_contrast

TESTS = ("test", "forgetting")
METRICS = ("accuracy", "accuracy:colour")


def cell(group: str, seed: int, right: str, trainable: int = 0) -> CellResult:
    """A run with a mark for each of n samples: answered right (1), wrong (0), not asked (-); half ask for colours."""
    rows = np.array([{"1": (1.0, 1.0), "0": (0.0, 1.0), "-": (0.0, 0.0)}[mark] for mark in right])
    of_colours = rows * (np.arange(len(rows)) < len(rows) / 2)[:, None]
    measured = Measured([f"r{place}" for place in range(len(rows))], {"accuracy:colour": of_colours, "accuracy": rows})
    return CellResult(group, group, None, seed, (), trainable, 1000, dict.fromkeys(TESTS, measured))


@pytest.fixture(scope="module")
def made() -> Comparison:
    return Comparison(
        cell("untuned", 0, "1010-01010"),
        {
            "top-layers:1": (cell("top-layers:1", 0, "1111-11110", 20), cell("top-layers:1", 1, "1111-11111", 30)),
            "random-layers:1": (cell("random-layers:1", 0, "1010-01011", 20),),
            "bottom-layers:1": (cell("bottom-layers:1", 0, "0000-00000", 20),),
            "all": (cell("all", 0, "1111-11111", 80),),
            "layers:1,3": (cell("layers:1,3", 0, "1010-01010", 40),),
        },
    )


def test_figures_and_shifts_by_hand(made: Comparison) -> None:
    table = shifts_table(made)
    groups = ["untuned", *made.groups]
    told = list(table[["test", "metric", "group"]].itertuples(index=False, name=None))
    assert told == [(test, metric, group) for test in TESTS for metric in METRICS for group in groups]
    row = table.query("test == 'test' and metric == 'accuracy'").set_index("group").T.to_dict()
    # Out of nine samples with a question, 4 were right; then 8 and 9, 5, none, all, and 4.
    for group, runs, figure, spread, shifted, trainable in (
        ("untuned", 1, 4 / 9, math.nan, math.nan, 0),
        ("top-layers:1", 2, 8.5 / 9, math.sqrt(2) * 0.5 / 9, 4.5 / 9, 25),
        ("random-layers:1", 1, 5 / 9, math.nan, 1 / 9, 20),
        ("bottom-layers:1", 1, 0, math.nan, -4 / 9, 20),
        ("all", 1, 1, math.nan, 5 / 9, 80),
        ("layers:1,3", 1, 4 / 9, math.nan, 0, 40),
    ):
        found = row[group]
        assert (found["runs"], found["n"], found["trainable"]) == (runs, 9, trainable)
        numbers = [found[name] for name in ("figure", "spread", "shift", "share")]
        assert numbers == pytest.approx([figure, spread, shifted, trainable / 1000], nan_ok=True), group
    of_colours = table[(table["metric"] == "accuracy:colour") & (table["test"] == "test")].set_index("group")
    assert of_colours["n"].tolist() == [4] * 6
    assert of_colours["figure"].tolist() == [0.5, 1, 0.5, 0, 1, 0.5]


def test_intervals_are_those_of_shifts_and_contrasts(made: Comparison) -> None:
    untuned = made.untuned.measured["test"]
    cells = {group: Cell(untuned, [one.measured["test"] for one in runs]) for group, runs in made.groups.items()}
    shifts = shifts_table(made).set_index(["test", "metric", "group"])
    contrasts = contrasts_table(made).set_index(["test", "metric", "first", "second"])
    for group, one in cells.items():
        for name in METRICS:
            expected = shift(name, one)
            found = shifts.loc[("test", name, group)]
            assert [found["shift"], found["low"], found["high"], found["p"]] == [
                expected.value,
                expected.low,
                expected.high,
                expected.p_value,
            ]
    for second in ("random-layers:1", "bottom-layers:1", "all"):
        found = contrasts.loc[("test", "accuracy", "top-layers:1", second)]
        size = size_contrast("accuracy", cells["top-layers:1"], cells[second])
        assert [found["size"], found["low"], found["high"], found["p"]] == [
            size.value,
            size.low,
            size.high,
            size.p_value,
        ]
        assert found["difference"] == contrast("accuracy", cells["top-layers:1"], cells[second]).value
    # The bottom layer shifts down by 4/9, the top one up by 4.5/9.
    below = contrasts.loc[("test", "accuracy", "top-layers:1", "bottom-layers:1")]
    assert [below["difference"], below["size"]] == pytest.approx([8.5 / 9, 0.5 / 9])


def test_question_types_are_not_contrasted(made: Comparison) -> None:
    assert set(contrasts_table(made)["metric"]) == {"accuracy"}
    assert shifts_table(made).query("metric == 'accuracy:colour'")["p_holm"].isna().all()


def test_each_test_set_is_corrected_for_its_tests(made: Comparison) -> None:
    shifts = shifts_table(made)
    contrasts = contrasts_table(made)
    for table, is_test in ((shifts, shifts["metric"] == "accuracy"), (contrasts, contrasts["second"] != "all")):
        for test in TESTS:
            family = table[is_test & (table["test"] == test) & table["p"].notna()]
            assert len(family) == {True: 5, False: 2}[table is shifts]
            assert family["p_holm"].tolist() == pytest.approx(holm_by_hand(family["p"].tolist()))
        assert table.loc[~is_test | table["p"].isna(), "p_holm"].isna().all()


def holm_by_hand(values: Sequence[float]) -> list[float]:
    """Multiply the k-th smallest of m by m - k; keep the order, and limit to 1."""
    corrected: dict[int, float] = {}
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        highest = min(1.0, max(highest, values[place] * (len(values) - rank)))
        corrected[place] = highest
    return [corrected[place] for place in range(len(values))]


def test_without_rivals_there_are_no_contrasts(made: Comparison) -> None:
    alone = Comparison(made.untuned, {group: made.groups[group] for group in ("layers:1,3", "random-layers:1")})
    table = contrasts_table(alone)
    assert len(table) == 0
    assert list(table) == ["test", "metric", "first", "second", "difference", "size", "low", "high", "p", "p_holm"]
    assert verdicts(table) == []


@pytest.mark.parametrize(
    ("groups", "pairs"),
    [
        (["all", "layers:0"], []),
        (["top-layers:1"], []),
        (["top-layers:1", "all"], [("top-layers:1", "all")]),
        (["bottom-layers:1", "random-layers:1"], []),
        (
            [
                "random-layers:1",
                "top-layers:1",
                "bottom-layers:1",
                "random-layers:1:7",
                "random-layers:2",
                "top-heads:1",
            ],
            [
                ("top-layers:1", "random-layers:1"),
                ("top-layers:1", "bottom-layers:1"),
                ("top-layers:1", "random-layers:1:7"),
            ],
        ),
        (
            ["top-layers:2", "top-heads:2", "random-heads:2", "bottom-layers:2", "all"],
            [
                ("top-layers:2", "bottom-layers:2"),
                ("top-layers:2", "all"),
                ("top-heads:2", "random-heads:2"),
                ("top-heads:2", "all"),
            ],
        ),
    ],
)
def test_rivals_have_the_same_unit_and_number(
    made: Comparison, groups: list[str], pairs: list[tuple[str, str]]
) -> None:
    runs = made.groups["all"]
    assert contrasted(Comparison(made.untuned, dict.fromkeys(groups, runs))) == pairs


# (metric, rival, size, corrected p) of one top group
HELD = [("cider", "random", 0.3, 0.01), ("cider", "bottom", 0.2, 0.04)]
LOST = [("bleu4", "random", 0.1, 0.01), ("bleu4", "bottom", -0.2, 0.04)]
OPEN = [("rouge_l", "random", 0.1, 0.01), ("rouge_l", "bottom", 0.2, 0.05)]
MORE = [("accuracy", "random", 0.3, 0.001), ("accuracy", "bottom", 0.3, 0.001)]


@pytest.mark.parametrize(
    ("rows", "answer", "holding", "failing", "tested"),
    [
        (HELD, "holds", ("cider",), (), 1),
        (LOST, "does not hold", (), ("bleu4",), 1),
        (OPEN, "cannot be told", (), (), 1),
        # Half of the metrics are not a majority.
        (HELD + OPEN, "cannot be told", ("cider",), (), 2),
        (HELD + MORE + OPEN, "holds", ("cider", "accuracy"), (), 3),
        (HELD + LOST, "does not hold", ("cider",), ("bleu4",), 2),
        (HELD + MORE + LOST, "cannot be told", ("cider", "accuracy"), ("bleu4",), 3),
        # Tuning everything is not a rival, and unmeasured contrasts do not count.
        ([*HELD, ("cider", "all", -0.5, 0.001)], "holds", ("cider",), (), 1),
        ([HELD[0], ("cider", "bottom", math.nan, math.nan)], "cannot be told", (), (), 1),
    ],
)
def test_claim_is_checked_against_every_rival(
    rows: list[tuple[str, str, float, float]],
    answer: str,
    holding: tuple[str, ...],
    failing: tuple[str, ...],
    tested: int,
) -> None:
    here = pd.DataFrame(rows, columns=["metric", "second", "size", "p_holm"]).assign(first="top", test="test")
    other = here.assign(test="forgetting", size=-here["size"])
    assert verdicts(pd.concat([other, here])) == [Verdict("top", answer, holding, failing, tested)]


def test_each_top_group_has_its_verdict() -> None:
    table = pd.concat(
        [
            pd.DataFrame(rows, columns=["metric", "second", "size", "p_holm"]).assign(first=first, test="test")
            for first, rows in (("top-layers:4", HELD), ("top-heads:8", LOST))
        ]
    )
    assert [(one.group, one.answer) for one in verdicts(table)] == [
        ("top-layers:4", "holds"),
        ("top-heads:8", "does not hold"),
    ]
