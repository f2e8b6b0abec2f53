"""Conclusions on the claim in words: verdicts, seeds, and limits due to many tests."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from datasetkit.hi_scoring.comparison.report.conclusions import conclusions, no_conclusion
from datasetkit.hi_scoring.comparison.report.glossary import lowest_p, mark_sentence, method
from datasetkit.hi_scoring.comparison.table import contrasts_table, shifts_table
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
def test_verdict_names_its_metrics(groups: tuple[str, ...], answer: str, said: str) -> None:
    found = made(groups, tests=("test",), metrics=("cider", "accuracy"))
    [one] = conclusions(found.comparison, found.contrasts)
    assert one.verdict.answer == answer
    assert said in one.sentence
    assert "Seeds" not in one.sentence
    assert one.rivals == tuple(group for group in groups[1:] if group != "all")


def test_insignificant_contrasts_are_undecided() -> None:
    found = made(seeds=(3,), tests=("test",), metrics=("cider", "accuracy"))
    unsure = found.contrasts.assign(p_holm=0.5)
    [one] = conclusions(found.comparison, unsure)
    assert one.sentence == (
        "For top-layers:1 it cannot be told from 40 samples and 1 seed whether the claim holds: it shifts the model "
        "significantly more than every rival of its size in none of 2 metrics; a rival shifts it significantly more in "
        "none of 2 metrics. Seeds were not varied: another one may say otherwise."
    )


def test_rival_with_one_run_is_mentioned() -> None:
    found = made(tests=("test",), metrics=("cider",)).comparison
    groups = found.groups | {"random-layers:1": found.groups["random-layers:1"][:1]}
    part = replace(found, groups=groups)
    [one] = conclusions(part, contrasts_table(part))
    assert one.sentence.endswith("Seeds were not varied for all of them: another one may say otherwise.")
    assert "ran once does not show it" in method(shifts_table(part), contrasts_table(part))["seeds"]


def test_too_many_tests_are_mentioned() -> None:
    few = made()
    for table, tests in ((few.shifts, 2 * 4), (few.contrasts, 2 * 2)):
        for test in ("test", "forgetting"):
            assert lowest_p(table, test) == pytest.approx(table[table["test"] == test]["p_holm"].min())
            assert mark_sentence(table, test) == f"* p < 0.05, corrected for {tests} tests (Holm)"
    assert "no difference" not in conclusions(few.comparison, few.contrasts)[0].sentence
    many = pd.concat([few.shifts] * 40)
    assert mark_sentence(many, "test") == "no p corrected for 320 tests (Holm) can be below 0.064, so none is marked"
    [one] = conclusions(few.comparison, pd.concat([few.contrasts] * 80))
    assert one.sentence.endswith("no difference can be significant: compare fewer at once.")


def test_without_a_rival_nothing_is_concluded() -> None:
    found = made(("layers:1,3",), seeds=(0,), tests=("test",), metrics=("cider",))
    assert conclusions(found.comparison, found.contrasts) == []
    assert "Here: layers:1,3." in no_conclusion(found.comparison)
    assert "larger by" not in method(found.shifts, found.contrasts)
    assert mark_sentence(found.contrasts, "test") == "nothing was tested"
