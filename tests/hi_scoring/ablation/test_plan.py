"""Chosen heads: doses, matched random sets, and conditions shared by trials."""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from datasetkit.core.errors import RecipeError
from datasetkit.hi_scoring.ablation.plan import Condition, Plan, Trial
from datasetkit.hi_scoring.ablation.rankings import Ranking
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.statistics import FloatArray
from datasetkit.options.heads import AblationOptions
from tests.hi_scoring.ablation.test_rankings import MODEL, ScoreOptions


def ranked(values: FloatArray, name: str = "ram") -> Ranking:
    """A ranking by scores of shape (layers, heads)."""
    scores = HeadScores(
        {(name, "last"): values[None]},
        chances={},
        record_ids=["one"],
        options=ScoreOptions(),
        model=MODEL,
        dataset={},
    )
    return Ranking.of_scores(scores, f"{name}:last", MODEL, values.shape)


def ranking_of(shape: tuple[int, int], seed: int = 0, name: str = "ram") -> Ranking:
    """A ranking in which all scores differ."""
    return ranked(np.random.default_rng(seed).permutation(shape[0] * shape[1]).reshape(shape), name)


def plan_of(shape: tuple[int, int], *rankings: Ranking, **options: object) -> Plan:
    return Plan.of(rankings or [ranking_of(shape)], AblationOptions(**options), shape)


def layers(trial: Trial) -> Counter[int]:
    return Counter(head.layer for head in trial.condition.heads)


@pytest.mark.parametrize(
    ("shape", "counts"),
    [((4, 8), [1, 2, 4, 7]), ((32, 32), [11, 21, 52, 103, 205]), ((10, 10), [1, 2, 5, 10, 20])],
)
def test_doses_round_up_and_equal_sizes_merge(shape: tuple[int, int], counts: list[int]) -> None:
    plan = plan_of(shape, modes=("zero",), draws=2)
    assert [trial.heads for trial in plan.trials if trial.rule == "top"] == counts
    assert Counter(trial.rule for trial in plan.trials) == {
        "top": len(counts),
        "bottom": len(counts),
        "random": 2 * len(counts),
    }


def test_random_heads_match_top_heads_per_layer() -> None:
    plan = plan_of((8, 16), draws=6, modes=("mean",))
    for size in {trial.heads for trial in plan.trials}:
        of_size = [trial for trial in plan.trials if trial.heads == size]
        [top] = [trial for trial in of_size if trial.rule == "top"]
        [bottom] = [trial for trial in of_size if trial.rule == "bottom"]
        drawn = [trial for trial in of_size if trial.rule == "random"]
        assert [trial.draw for trial in drawn] == list(range(6))
        assert all(layers(trial) == layers(top) for trial in drawn)
        assert not set(top.condition.heads) & set(bottom.condition.heads)
        assert len({trial.condition for trial in of_size}) == 8


def test_fewer_distinct_sets_give_fewer_draws() -> None:
    # One of four heads in the layer of the top one; the lowest head is in another layer.
    ranking = ranking_of((2, 4), seed=1)
    top, bottom = (ranking.selector.select(f"{rule}-heads:1").heads[0] for rule in ("top", "bottom"))
    assert top.layer != bottom.layer
    trials = plan_of((2, 4), ranking, doses=(0.1,), modes=("zero",), draws=5).trials
    drawn = {trial.condition.heads[0] for trial in trials if trial.rule == "random"}
    assert drawn == {Head(top.layer, head) for head in range(4)} - {top}


def test_random_seeds_count_up_from_the_given_one() -> None:
    first, later = (plan_of((8, 16), doses=(0.1,), modes=("zero",), draws=4, seed=seed) for seed in (0, 2))
    sets = [[trial.condition for trial in plan.trials if trial.rule == "random"] for plan in (first, later)]
    assert sets[0][2:] == sets[1][:2]
    assert sets[0][0] not in sets[1]


def test_trials_of_equal_heads_share_a_condition() -> None:
    shape = (4, 8)
    plan = plan_of(shape, ranking_of(shape), ranking_of(shape, name="hi"), modes=("zero", "mean"))
    by_ranking = [[one.condition for one in plan.trials if one.ranking == name] for name in ("ram:last", "hi:last")]
    assert by_ranking[0] == by_ranking[1]
    assert len({one.name for one in by_ranking[0]}) == len(by_ranking[0])


def test_condition_lists_heads_by_layer() -> None:
    condition = Condition("zero", (Head(0, 3), Head(2, 0), Head(2, 5)))
    assert condition.by_layer == {0: (3,), 2: (0, 5)}
    assert condition.name.startswith("zero-3-")
    assert condition.name != Condition("zero", (Head(0, 3), Head(2, 0), Head(2, 6))).name


def test_plan_json_has_everything_that_decides_it() -> None:
    plan = plan_of((4, 8), doses=(0.05,), modes=("resample",), draws=2)
    told = plan.as_json()
    assert (told["layers"], told["heads"]) == (4, 8)
    assert told["options"]["doses"] == [0.05]
    assert list(told["rankings"]) == ["ram:last"]
    assert [(one["rule"], one["draw"], len(one["heads"])) for one in told["trials"]] == [
        ("top", None, 2),
        ("bottom", None, 2),
        ("random", 0, 2),
        ("random", 1, 2),
    ]


def test_plans_without_comparison_are_refused() -> None:
    with pytest.raises(RecipeError, match="ranked by nothing; give one or more"):
        Plan.of([], AblationOptions(), (4, 8))
    with pytest.raises(RecipeError, match="ranked by ram:last, ram:last; give one or more, each once"):
        plan_of((4, 8), ranking_of((4, 8)), ranking_of((4, 8)))
    with pytest.raises(RecipeError, match="top-heads:2 by ram:last asks for 2; 3 have a score"):
        plan_of((1, 3), doses=(0.5,))


@pytest.mark.parametrize(
    "options",
    [{"modes": ("zero", "zero")}, {"modes": ()}, {"modes": ("cut",)}, {"doses": ()}, {"doses": (0.6,)}, {"draws": 1}],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AblationOptions(**options)
