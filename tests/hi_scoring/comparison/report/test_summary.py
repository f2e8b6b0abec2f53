"""What a report says of a comparison, in words: verdicts, seeds, marks, and what was tuned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hi_scoring.comparison.report.glossary import lowest_p, mark_sentence, method
from hi_scoring.comparison.report.summary import (
    conclusions,
    contrast_rows,
    group_rows,
    lead,
    no_conclusion,
    settings,
    tuned_rows,
)
from hi_scoring.comparison.table import contrasts_table, shifts_table
from tests.hi_scoring.comparison.report.made import LAYERS, made


@pytest.mark.parametrize(
    ("groups", "answer", "said"),
    [
        (
            LAYERS,
            "holds",
            "claim holds here: it shifts the model significantly more than every rival of its size in 2 of 2",
        ),
        (
            ("top-heads:2", "random-heads:2"),
            "does not hold",
            "does not hold here: a rival of its size shifts the model significantly more in 2 of 2 metrics (CIDEr, "
            "Right answers); it shifts the model significantly more than every rival in none of 2 metrics.",
        ),
    ],
)
def test_a_verdict_says_which_metrics_it_rests_on(groups: tuple[str, ...], answer: str, said: str) -> None:
    found = made(groups, tests=("test",), metrics=("cider", "accuracy"))
    [one] = conclusions(found.comparison, found.contrasts)
    assert one.verdict.answer == answer
    assert said in one.sentence
    assert "Seeds" not in one.sentence
    assert one.rivals == tuple(group for group in groups[1:] if group != "all")


def test_nothing_is_told_from_contrasts_that_are_not_significant_and_one_seed_is_named() -> None:
    found = made(seeds=(3,), tests=("test",), metrics=("cider", "accuracy"))
    unsure = found.contrasts.assign(p_holm=0.5)
    [one] = conclusions(found.comparison, unsure)
    assert one.sentence == (
        "For top-layers:1 it cannot be told from 40 samples and 1 seed whether the claim holds: it shifts the model "
        "significantly more than every rival of its size in none of 2 metrics; a rival shifts it significantly more in "
        "none of 2 metrics. Seeds were not varied: another one may say otherwise."
    )


def test_a_rival_that_ran_once_is_told_of() -> None:
    found = made(tests=("test",), metrics=("cider",)).comparison
    groups = found.groups | {"random-layers:1": found.groups["random-layers:1"][:1]}
    part = replace(found, groups=groups)
    [one] = conclusions(part, contrasts_table(part))
    assert one.sentence.endswith("Seeds were not varied for all of them: another one may say otherwise.")
    assert "ran once is silent" in method(shifts_table(part), contrasts_table(part))["seeds"]


def test_where_too_much_is_tested_for_anything_to_be_significant_that_is_said() -> None:
    few = made()
    assert lowest_p(few.shifts) == pytest.approx(few.shifts["p_holm"].min())
    assert mark_sentence(few.shifts) == "* p < 0.05, corrected for 16 tests (Holm)"
    assert "no difference" not in conclusions(few.comparison, few.contrasts)[0].sentence
    many = pd.concat([few.shifts] * 4)
    assert mark_sentence(many) == "no p corrected for 64 tests (Holm) can be below 0.064, so none is marked"
    many = pd.concat([few.contrasts, *[few.contrasts.assign(test="more")] * 5])
    [one] = conclusions(few.comparison, many)
    assert one.sentence.endswith("no difference can be significant: compare fewer at once.")


def test_without_a_rival_nothing_is_concluded() -> None:
    found = made(("layers:1,3",), seeds=(0,), tests=("test",), metrics=("cider",))
    assert conclusions(found.comparison, found.contrasts) == []
    assert "Here: layers:1,3." in no_conclusion(found.comparison)
    assert "larger by" not in method(found.shifts, found.contrasts)
    assert "Contrasts: nothing was tested" in method(found.shifts, found.contrasts)["p-values"]


def test_what_is_not_defined_is_a_dash_and_is_not_marked() -> None:
    found = made()
    gone = found.shifts.assign(figure=np.nan, spread=np.nan, shift=np.nan, low=np.nan, high=np.nan, p_holm=np.nan)
    for row in group_rows(gone, "test", ["cider"])[1:]:
        [one] = row.measures
        assert (one.figure, one.spread, one.shift, one.interval) == ("-", "", "-", "-")
    gone = found.contrasts.assign(difference=np.nan, size=np.nan, low=np.nan, high=np.nan, p=np.nan, p_holm=np.nan)
    for row in contrast_rows(gone, "test", "top-layers:1"):
        assert (row.difference, row.size, row.interval, row.p, row.p_holm) == ("-",) * 5


def test_runs_that_tuned_the_same_are_one_row() -> None:
    found = made(("top-layers:1", "random-layers:1", "all", "top-heads:2"), seeds=(0, 1, 5), metrics=("cider",))
    assert [(row.group, row.seeds, row.layers, row.heads) for row in tuned_rows(found.comparison)] == [
        ("top-layers:1", "0, 1, 5", "2", ""),
        ("random-layers:1", "0", "0", ""),
        ("random-layers:1", "1, 5", "1", ""),
        ("all", "0, 1, 5", "0-3", ""),
        ("top-heads:2", "0, 1, 5", "2-3", "layer 2: 1, 3-4; layer 3: 0"),
    ]


def test_settings_hold_all_that_the_bench_tells_and_what_the_cells_add() -> None:
    found = made()
    told = settings(found.comparison, found.description)
    assert told["training: learning rate"] == "0.005"
    assert told["training: patience"] == "none"
    assert told["adapter: targets"] == "q_proj, o_proj"
    assert told["scores: data: name"] == "base-train"
    assert told["tests: forgetting: sha256"] == "cd" * 32
    assert told["ways of tuning"] == "top-layers:1, random-layers:1, bottom-layers:1, all"
    assert told["seeds"] == "0, 1"
    assert told["draws of the bootstrap"] == "2,000, seed 0"


@pytest.mark.parametrize(
    ("seeds", "told"), [((0, 1), ", seeds 0, 1."), ((4,), ", seed 4 alone: seeds were not varied.")]
)
def test_the_lead_names_seeds_and_test_sets(seeds: tuple[int, ...], told: str) -> None:
    found = made(seeds=seeds, metrics=("cider",))
    text = lead(found.comparison, found.description)
    assert told in text
    assert text.startswith("4 ways of tuning on 13,640 examples of shifted-train")
    assert text.endswith("Tested on test-data (test, 40 samples) and forgetting-data (forgetting, 40 samples).")
