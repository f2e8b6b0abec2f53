"""The plans that are measured: that of the CoRe heads, and those of as many others in the same layers."""

from collections import Counter

import pytest
from pydantic import ValidationError

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import RecipeError, UnknownNameError
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.sparse.conditions import conditions_of
from datasetkit.options.base import plain
from datasetkit.options.heads import SparsityOptions
from tests.hi_scoring.sparse.measured import SHAPE, conditions, head_scores


def layers_of(heads: tuple[Head, ...]) -> Counter[int]:
    return Counter(head.layer for head in heads)


def test_core_heads_and_distinct_matched_draws() -> None:
    dense, core, *random = conditions(draws=3)
    assert (dense.name, dense.plan) == ("dense", None)
    assert core.name == "core"
    assert core.plan is not None
    # A fifth of 16 heads, rounded up.
    assert core.plan.kept == (Head(0, 0), Head(1, 0), Head(2, 0), Head(3, 0))
    assert (core.plan.sink, core.plan.window, core.plan.dense_above) == (1, 4, 1.0)
    assert core.plan.chosen == {
        "rule": "top-heads:4",
        "share": 0.2,
        "by": "ram:response",
        "scores": plain(head_scores().source),
    }
    assert [one.name for one in random] == ["random-0", "random-1", "random-2"]
    kept = [one.plan.kept for one in random if one.plan]
    assert len(set(kept)) == 3
    assert all(layers_of(heads) == layers_of(core.plan.kept) and heads != core.plan.kept for heads in kept)


def test_more_draws_keep_the_first_ones() -> None:
    assert conditions(draws=5)[:4] == conditions(draws=2)


def test_fewer_distinct_draws_give_fewer_conditions() -> None:
    """With one head in a layer of four, two choices are neither the best nor, in that layer, the worst of all."""
    random = conditions(draws=50, share=0.01)[2:]
    assert {one.plan.kept for one in random if one.plan} == {(Head(3, number),) for number in (1, 2, 3)}


def test_scores_of_another_model_are_refused() -> None:
    scores = head_scores(model=ModelIdentity("model", "another", None, "b"))
    with pytest.raises(
        RecipeError, match=r"the scores belong to another \(b\), the model is llava \(a\); score this one"
    ):
        conditions(scores=scores)
    with pytest.raises(RecipeError, match="4 layers of 4 heads, the model has 4 of 8"):
        conditions_of(head_scores(), head_scores().model, (4, 8), SparsityOptions(), 1)


def test_missing_score_is_refused() -> None:
    with pytest.raises((RecipeError, UnknownNameError), match="no score is called hi:phrase; known: ram:response"):
        conditions(by="hi:phrase")


@pytest.mark.parametrize(
    "options", [{"share": 0.0}, {"share": 0.6}, {"sink": -1}, {"window": 0}, {"dense_above": 0.0}, {"dense_above": 2.0}]
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SparsityOptions(**options)


def test_defaults_are_those_of_plans() -> None:
    plan = conditions_of(head_scores(), head_scores().model, SHAPE, SparsityOptions(), 1)[1].plan
    assert plan is not None
    assert (plan.sink, plan.window, plan.dense_above) == (4, 128, 0.5)
