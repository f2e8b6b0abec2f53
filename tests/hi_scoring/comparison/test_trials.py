"""Trials: their names, the names of table rows, and equal selections."""

from __future__ import annotations

import pytest

from datasetkit.core.errors import RecipeError
from datasetkit.hi_scoring.comparison.trials import Trial, trials_of
from datasetkit.hi_scoring.selection import Selector
from tests.hi_scoring.tuned import head_scores


@pytest.fixture(scope="module")
def selector() -> Selector:
    return Selector((4, 4), head_scores())


def test_trials_come_seed_by_seed_after_the_untuned_model(selector: Selector) -> None:
    found = trials_of(["top-layers:1", "random-heads:2", "random-layers:1:7", "layers:3,1"], [0, 5], selector)
    assert [(trial.name, trial.group, trial.seed) for trial in found] == [
        ("untuned", "untuned", 0),
        ("top-layers-1--seed-0", "top-layers:1", 0),
        ("random-heads-2-0--seed-0", "random-heads:2", 0),
        ("random-layers-1-7--seed-0", "random-layers:1:7", 0),
        ("layers-1-3--seed-0", "layers:1,3", 0),
        ("top-layers-1--seed-5", "top-layers:1", 5),
        ("random-heads-2-5--seed-5", "random-heads:2", 5),
        ("random-layers-1-7--seed-5", "random-layers:1:7", 5),
        ("layers-1-3--seed-5", "layers:1,3", 5),
    ]
    assert found[0].selection is None
    for trial, text in zip(
        found[1:5], ("top-layers:1", "random-heads:2:0", "random-layers:1:7", "layers:1,3"), strict=True
    ):
        assert trial.selection == selector.select(text)


def test_random_selections_are_redrawn_per_seed(selector: Selector) -> None:
    seeds = range(5)
    anew = [trial.selection for trial in trials_of(["random-heads:2"], seeds, selector)[1:]]
    fixed = [trial.selection for trial in trials_of(["random-heads:2:0"], seeds, selector)[1:]]
    assert anew == [selector.select(f"random-heads:2:{seed}") for seed in seeds]
    assert len({one.heads for one in anew if one}) > 1
    assert fixed == [selector.select("random-heads:2:0")] * 5


def test_numbers_are_normalised(selector: Selector) -> None:
    found = trials_of(["top-layers:01", "random-layers:01"], [3], selector)
    assert [(trial.name, trial.group) for trial in found[1:]] == [
        ("top-layers-1--seed-3", "top-layers:1"),
        ("random-layers-1-3--seed-3", "random-layers:1"),
    ]


@pytest.mark.parametrize(
    ("selections", "seeds", "message"),
    [
        ([], [0], "selections are none; give one or more"),
        (["all"], [], "seeds are none; give one or more"),
        (["all", "all"], [0], "selections are all, all; give one or more, each once"),
        (["all"], [1, 1], "seeds are 1, 1; give one or more, each once"),
        (["layers:1,3", "layers:3,1"], [0], "layers:1,3 and layers:1,3 select the same with seed 0"),
        (["top-layers:1", "top-layers:01"], [0], "select the same with seed 0"),
        (
            ["random-layers:1", "random-layers:1:4"],
            [0, 4],
            "random-layers:1 and random-layers:1:4 select the same with seed 4",
        ),
        (["top-layers:3"], [0], "top-layers:3 by hi:response asks for 3"),
        (["best"], [0], "'best' is not a selection"),
        (["random-layers:1:-1"], [0], "'random-layers:1:-1' is not a selection"),
    ],
)
def test_repeated_or_impossible_trials_are_refused(
    selector: Selector, selections: list[str], seeds: list[int], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        trials_of(selections, seeds, selector)


def test_trials_are_named_by_what_is_tuned() -> None:
    assert Trial("untuned", None, 3).name == "untuned"
