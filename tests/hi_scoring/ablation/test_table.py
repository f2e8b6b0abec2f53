"""Dose curves and contrasts by hand, and the verdicts that follow, which rarely arise by chance."""

import numpy as np
import pandas as pd
import pytest

from datasetkit.hi_scoring.ablation.plan import Condition, Plan, Trial
from datasetkit.hi_scoring.ablation.table import LEVEL, Effects, Verdict, verdicts
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.evaluation.shifts import Cell, contrast, shift
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.statistics import FloatArray, holm, p_as_drawn
from datasetkit.options.heads import AblationOptions
from tests.hi_scoring.ablation.test_plan import ranked

SHAPE = (2, 4)
N = 40


def measured(accuracy: float, seed: int = 0) -> Measured:
    """Forty samples of two questions each; the first ones are answered right, some by chance; half have captions."""
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


def test_curves_have_every_conditions_figures_and_shifts(effects: Effects) -> None:
    curves = effects.curves()
    assert len(curves) == 2 * (3 + 2) * 3
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


def test_curve_rows_are_labelled(effects: Effects) -> None:
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
        expected = shift("hallucination", cell, 2000)
        found = rows.loc[rule]
        assert (found["shift"], found["low"], found["high"], found["p"]) == pytest.approx(
            (expected.value, expected.low, expected.high, expected.p_value)
        )


def test_question_types_have_curves_but_no_tests(effects: Effects) -> None:
    curves = effects.curves().query("draw.isna()").set_index(["metric", "heads", "rule"])["figure"]
    assert set(curves.index.get_level_values("metric")) == {"hallucination", "accuracy", "accuracy:colour"}
    assert curves["accuracy:colour"].to_dict() == curves["accuracy"].to_dict()
    assert set(effects.contrasts()["metric"]) == {"hallucination", "accuracy"}


def test_contrasts_are_corrected_per_ranking_and_metric(effects: Effects) -> None:
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
    expected = contrast("hallucination", Cell(UNABLATED, first), Cell(UNABLATED, second), 2000)
    found = table.iloc[2]
    assert (found["low"], found["high"], found["p"]) == pytest.approx((expected.low, expected.high, expected.p_value))
    assert found["worse"] == (expected.value > 0)
    sets = [p_as_drawn(-0.55, [-0.1, 0.1]), p_as_drawn(-0.8, [-0.3, -0.1])]
    assert accuracy["p_sets"].tolist() == pytest.approx(sets)
    # Two random sets determine their spread poorly, so here it decides.
    assert (accuracy["p"] < accuracy["p_sets"]).all()
    assert (accuracy["p"] < 0.002).all()
    assert accuracy["p_holm"].tolist() == holm(np.array(accuracy["p_sets"])).tolist()
    others = table[table["metric"] == "hallucination"]
    assert others["p_holm"].tolist() == holm(np.array(others[["p", "p_sets"]].max(axis=1))).tolist()


@pytest.mark.parametrize(
    ("accuracies", "decides"), [((0.7, 0.8, 0.75, 0.75, 0.75), "p"), ((0.0, 0.8, 0.3, 0.5, 0.7), "p_sets")]
)
def test_contrast_must_exceed_noise_and_random_sets(accuracies: tuple[float, ...], decides: str) -> None:
    """Random sets may all agree while the difference is noise, or may vary as much as the difference."""
    trials = [*TRIALS[:4], trial("random", 2, (0, 3))]
    found = {one.condition.name: measured(figure) for one, figure in zip(trials, accuracies, strict=True)}
    table = Effects(UNABLATED, trials, found, SHAPE).contrasts().set_index("metric")
    other = {"p": "p_sets", "p_sets": "p"}[decides]
    row = table.loc["accuracy"]
    assert row[other] < LEVEL < row[decides] == row["p_holm"]


def test_one_random_set_tests_nothing() -> None:
    table = Effects(UNABLATED, TRIALS[:3], MEASURED, SHAPE).contrasts()
    assert table["p"].notna().all()
    assert table[["p_sets", "p_holm"]].isna().all(axis=None)
    [verdict] = verdicts(table)
    assert (verdict.answer, verdict.tested) == ("cannot be told", 0)


def test_rankings_are_corrected_separately() -> None:
    others = [trial(one.rule, one.draw, *one.condition.heads, ranking="ram:last") for one in TRIALS]
    both = Effects(UNABLATED, [*TRIALS, *others], MEASURED, SHAPE)
    alone = Effects(UNABLATED, TRIALS, MEASURED, SHAPE)
    for table, expected in ((both.curves(), alone.curves()), (both.contrasts(), alone.contrasts())):
        assert list(dict.fromkeys(table["ranking"])) == ["hi:last", "ram:last"]
        for name in ("hi:last", "ram:last"):
            part = table[table["ranking"] == name].drop(columns="ranking").reset_index(drop=True)
            pd.testing.assert_frame_equal(part, expected.drop(columns="ranking"))


def test_draws_grow_with_the_number_of_tests() -> None:
    """For 130 tests, 2,000 draws are too few: the lowest p-value is 2 / 2,001, corrected 0.13."""
    trials, found = [], {}
    for size in range(1, 131):
        heads = [[(layer, head) for head in range(size)] for layer in range(4)]
        rules = (("top", None), ("bottom", None), ("random", 0), ("random", 1))
        of_size = [trial(rule, draw, *heads[layer]) for layer, (rule, draw) in enumerate(rules)]
        trials += of_size
        for one, accuracy in zip(of_size, (0.0, 0.8, 0.8, 0.8), strict=True):
            rows = measured(accuracy).statistics["accuracy"]
            found[one.condition.name] = Measured(UNABLATED.sample_ids, {"accuracy": rows})
    unablated = Measured(UNABLATED.sample_ids, {"accuracy": UNABLATED.statistics["accuracy"]})
    table = Effects(unablated, trials, found, (4, 130)).contrasts()
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
def test_verdicts_count_significant_contrasts(worse: int, better: int, answer: str) -> None:
    rows = [{"worse": True, "p_holm": 0.01}] * worse + [{"worse": False, "p_holm": 0.01}] * better
    rows += [{"worse": True, "p_holm": 0.2}, {"worse": False, "p_holm": 0.9}, {"worse": True, "p_holm": np.nan}]
    table = pd.DataFrame(rows).assign(ranking="hi:last", metric="accuracy")
    assert verdicts(table) == [Verdict("hi:last", "accuracy", answer, worse, better, worse + better + 2)]


@pytest.mark.parametrize(
    ("metrics", "judging"),
    [
        (("bleu4", "cider", "accuracy", "answer_probability"), "answer_probability"),
        (("bleu4", "rouge_l", "cider", "key_recall"), "cider"),
        (("accuracy", "hallucination"), "hallucination"),
    ],
)
def test_ranking_is_judged_by_one_metric(metrics: tuple[str, ...], judging: str) -> None:
    table = pd.DataFrame(
        [{"metric": name, "p_holm": 0.2 if name == judging else 0.001, "worse": True} for name in metrics]
    ).assign(ranking="hi:last")
    assert verdicts(table) == [Verdict("hi:last", judging, "cannot be told", 0, 0, 1)]
    assert verdicts(table.assign(p_holm=0.001)) == [Verdict("hi:last", judging, "holds", 1, 0, 1)]


def judged(seed: int, *, by_dice: bool) -> str:
    """The verdict on a ranking of 48 heads that contribute differently to the right answer."""
    random = np.random.default_rng((seed, 7))
    worth, before = random.exponential(0.02, (6, 8)), random.uniform(0.5, 0.9, N)

    def run(values: FloatArray) -> Measured:
        return Measured(UNABLATED.sample_ids, {"answer_probability": np.column_stack([values, np.ones(N)])})

    ranking = ranked(random.permutation(48).reshape(6, 8) if by_dice else worth)
    options = AblationOptions(modes=("zero",), doses=(0.02, 0.05, 0.1, 0.2), seed=100 * seed)
    plan = Plan.of([ranking], options, (6, 8))
    found = {}
    for one in plan.trials:
        lost = sum(worth[head] for head in one.condition.heads)
        found[one.condition.name] = run(before - lost * random.uniform(0.5, 1.5, N) + random.normal(0, 0.02, N))
    [verdict] = verdicts(Effects(run(before), plan.trials, found, (6, 8)).contrasts())
    return verdict.answer


@pytest.mark.slow
def test_random_ranking_rarely_passes_and_true_one_does() -> None:
    """Compared only with the mean of random sets, more than half of the random rankings would get a verdict."""
    by_dice = [judged(seed, by_dice=True) for seed in range(120)]
    assert by_dice.count("cannot be told") >= 0.92 * len(by_dice)
    assert [judged(seed, by_dice=False) for seed in range(10)].count("holds") >= 8
