"""Dose curves and contrasts, their numbers by hand, and the verdicts that follow."""

import numpy as np
import pandas as pd
import pytest

from hi_scoring.ablation.plan import Condition, Trial
from hi_scoring.ablation.table import LEVEL, Effects, Verdict, verdicts
from hi_scoring.evaluation.metrics import Measured
from hi_scoring.evaluation.shifts import Cell, contrast, shift
from hi_scoring.scores.results import Head
from hi_scoring.statistics import holm

SHAPE = (2, 4)
N = 40


def measured(accuracy: float, seed: int = 0) -> Measured:
    """Forty samples of two questions each, the first of which are answered right, some by chance; half are captions."""
    right = np.zeros(N)
    right[: round(accuracy * N)] = 2
    named = np.random.default_rng(seed).integers(0, 2, N).astype(float)
    return Measured(
        [f"sample-{place}" for place in range(N)],
        {
            "accuracy": np.column_stack([right, np.full(N, 2.0)]),
            "accuracy:colour": np.column_stack([right / 2, np.ones(N)]),
            "hallucination": np.column_stack([named, np.ones(N)]),
        },
    )


def trial(rule: str, draw: int | None, *heads: tuple[int, int], ranking: str = "hi:last") -> Trial:
    return Trial(ranking, rule, draw, Condition("zero", tuple(Head(*head) for head in heads)))


TRIALS = [
    trial("top", None, (0, 0)),
    trial("bottom", None, (1, 3)),
    trial("random", 0, (0, 1)),
    trial("random", 1, (0, 2)),
    trial("top", None, (0, 0), (0, 1)),
    trial("bottom", None, (1, 2), (1, 3)),
    trial("random", 0, (0, 1), (0, 2)),
    trial("random", 1, (0, 2), (0, 3)),
]
ACCURACIES = (0.25, 0.75, 0.7, 0.9, 0.0, 0.75, 0.5, 0.7)
UNABLATED = measured(0.8)
MEASURED = {
    one.condition.name: measured(accuracy, seed)
    for seed, (one, accuracy) in enumerate(zip(TRIALS, ACCURACIES, strict=True))
}


@pytest.fixture(scope="module")
def effects() -> Effects:
    return Effects(UNABLATED, TRIALS, MEASURED, SHAPE)


def test_curves_have_the_figures_and_shifts_of_every_condition(effects: Effects) -> None:
    curves = effects.curves()
    assert len(curves) == 2 * (3 + 2) * 2
    rows = curves[curves["metric"] == "accuracy"].set_index(["heads", "rule", "draw"])[["unablated", "figure", "shift"]]
    expected = {
        (1, "top", None): 0.25,
        (1, "bottom", None): 0.75,
        (1, "random", None): 0.8,
        (1, "random", 0): 0.7,
        (1, "random", 1): 0.9,
        (2, "top", None): 0.0,
        (2, "bottom", None): 0.75,
        (2, "random", None): 0.6,
        (2, "random", 0): 0.5,
        (2, "random", 1): 0.7,
    }
    found = {(heads, rule, None if pd.isna(draw) else draw): row for (heads, rule, draw), *row in rows.itertuples()}
    assert found.keys() == expected.keys()
    for place, accuracy in expected.items():
        assert found[place] == pytest.approx([0.8, accuracy, accuracy - 0.8])


def test_curves_say_what_rows_are_of(effects: Effects) -> None:
    curves = effects.curves().query("metric == 'accuracy' and heads == 2")
    assert (curves["share"] == 2 / 8).all()
    assert (curves["n"] == N).all()
    assert set(curves["ranking"]) == {"hi:last"}
    assert set(curves["mode"]) == {"zero"}
    told = [(row.rule, row.runs, row.shared) for row in curves.itertuples()]
    assert told == [("top", 1, 2), ("bottom", 1, 0), ("random", 2, 0.5), ("random", 1, 1), ("random", 1, 0)]
    spread = curves.query("rule == 'random' and runs == 2")["spread"].item()
    assert spread == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert curves.query("rule == 'top'")["spread"].isna().all()


def test_intervals_are_those_of_shifts(effects: Effects) -> None:
    rows = effects.curves().query("metric == 'hallucination' and heads == 1 and draw.isna()").set_index("rule")
    for rule, places in (("top", [0]), ("bottom", [1]), ("random", [2, 3])):
        cell = Cell(UNABLATED, [MEASURED[TRIALS[place].condition.name] for place in places])
        expected = shift("hallucination", cell)
        found = rows.loc[rule]
        assert (found["shift"], found["low"], found["high"], found["p"]) == pytest.approx(
            (expected.value, expected.low, expected.high, expected.p_value)
        )


def test_contrasts_are_of_top_and_mean_of_random_corrected_for_all_of_a_ranking(effects: Effects) -> None:
    table = effects.contrasts()
    assert list(zip(table["heads"], table["metric"], strict=True)) == [
        (1, "hallucination"),
        (1, "accuracy"),
        (2, "hallucination"),
        (2, "accuracy"),
    ]
    accuracy = table[table["metric"] == "accuracy"]
    assert accuracy["top"].tolist() == pytest.approx([-0.55, -0.8])
    assert accuracy["random"].tolist() == pytest.approx([0.0, -0.2])
    assert accuracy["difference"].tolist() == pytest.approx([-0.55, -0.6])
    assert accuracy["worse"].all()
    assert (accuracy["high"] < -0.2).all()
    first, second = ([MEASURED[TRIALS[place].condition.name] for place in places] for places in ([4], [6, 7]))
    expected = contrast("hallucination", Cell(UNABLATED, first), Cell(UNABLATED, second))
    found = table.iloc[2]
    assert (found["low"], found["high"], found["p"]) == pytest.approx((expected.low, expected.high, expected.p_value))
    assert found["worse"] == (expected.value > 0)
    np.testing.assert_array_equal(table["p_holm"], holm(table["p"].to_numpy()))
    assert (accuracy["p_holm"] < LEVEL).all()


def test_rankings_are_corrected_apart_and_common_conditions_have_the_same_shifts() -> None:
    others = [trial(one.rule, one.draw, *one.condition.heads, ranking="ram:last") for one in TRIALS]
    both = Effects(UNABLATED, [*TRIALS, *others], MEASURED, SHAPE)
    alone = Effects(UNABLATED, TRIALS, MEASURED, SHAPE)
    for table, expected in ((both.curves(), alone.curves()), (both.contrasts(), alone.contrasts())):
        assert list(dict.fromkeys(table["ranking"])) == ["hi:last", "ram:last"]
        for name in ("hi:last", "ram:last"):
            part = table[table["ranking"] == name].drop(columns="ranking").reset_index(drop=True)
            pd.testing.assert_frame_equal(part, expected.drop(columns="ranking"))


def test_as_many_draws_are_made_as_the_number_of_tests_needs() -> None:
    """Of 130 tests, 10,000 draws would show less: the lowest p-value is 2 / 10,001, corrected 0.026."""
    trials, found = [], {}
    for size in range(1, 131):
        heads = [[(layer, head) for head in range(size)] for layer in range(3)]
        of_size = [
            trial(rule, draw, *heads[layer]) for layer, (rule, draw) in enumerate([("top", None), ("bottom", None)])
        ]
        of_size.append(trial("random", 0, *heads[2]))
        trials += of_size
        for one, accuracy in zip(of_size, (0.0, 0.8, 0.8), strict=True):
            rows = measured(accuracy).statistics["accuracy"]
            found[one.condition.name] = Measured(UNABLATED.sample_ids, {"accuracy": rows})
    unablated = Measured(UNABLATED.sample_ids, {"accuracy": UNABLATED.statistics["accuracy"]})
    table = Effects(unablated, trials, found, (3, 130)).contrasts()
    assert len(table) == 130
    assert (table["p_holm"] <= LEVEL / 2).all()


@pytest.mark.parametrize(
    ("worse", "better", "answer"),
    [
        (2, 0, "holds"),
        (2, 1, "cannot be told"),
        (1, 1, "does not hold"),
        (0, 1, "does not hold"),
        (0, 0, "cannot be told"),
    ],
)
def test_verdicts_count_the_sure_contrasts(worse: int, better: int, answer: str) -> None:
    rows = [{"worse": True, "p_holm": 0.01}] * worse + [{"worse": False, "p_holm": 0.01}] * better
    rows += [{"worse": True, "p_holm": 0.2}, {"worse": False, "p_holm": 0.9}, {"worse": True, "p_holm": np.nan}]
    table = pd.DataFrame(rows).assign(ranking="hi:last")
    assert verdicts(table) == [Verdict("hi:last", answer, worse, better, worse + better + 2)]
