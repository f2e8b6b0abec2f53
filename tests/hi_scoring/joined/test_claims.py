"""Verdicts on the claims of the papers: each answer from suitable results, and unmeasured claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datasetkit.hi_scoring.joined.claims import Claim, claims
from datasetkit.hi_scoring.joined.folders import read_folders
from datasetkit.hi_scoring.statistics import FAILS, HOLDS, NOT_MEASURED, OPEN
from tests.hi_scoring.joined.made import AS_TOLD, FLOWS, ablated, blocked, scored, sparsified, tuned

pytestmark = pytest.mark.slow


def said(folder: Path, start: str) -> Claim:
    """The verdict on the claim whose text starts with ``start``."""
    [one] = [one for one in claims(read_folders([folder])) if one.claim.startswith(start)]
    return one


def test_what_no_folder_measured_is_not_measured(tmp_path: Path) -> None:
    found = claims(read_folders([scored(tmp_path / "scores")]))
    assert len(found) == 8
    assert {(one.answer, one.folder) for one in found} == {(NOT_MEASURED, "")}
    assert "run `datasetkit compare`" in found[0].why


@pytest.mark.parametrize(("top", "random", "answer"), [(0.3, 0.05, HOLDS), (0.01, 0.3, FAILS), (0.1, 0.1, OPEN)])
def test_tuning_that_shifts_most(tmp_path: Path, top: float, random: float, answer: str) -> None:
    one = said(tuned(tmp_path / "tuned", {"top-layers:1": top, "random-layers:1": random}), "Tuning")
    assert (one.answer, one.folder) == (answer, "tuned")
    assert one.why.startswith("Ranked by hi:response. For top-layers:1")


@pytest.mark.parametrize(("by", "unit"), [("image_mass:last", "layers"), ("hi:response", "heads")])
def test_other_scores_and_heads_do_not_test_the_claim(tmp_path: Path, by: str, unit: str) -> None:
    one = said(tuned(tmp_path / "tuned", {f"top-{unit}:1": 0.3, f"random-{unit}:1": 0.05}, by=by), "Tuning")
    assert (one.answer, one.why) == (
        NOT_MEASURED,
        f"top-{unit}:1 was ranked by {by}; the claim is about layers ranked by HI.",
    )


def test_tuning_without_rivals_tests_nothing(tmp_path: Path) -> None:
    assert said(tuned(tmp_path / "tuned", {"all": 0.3}, "datasetkit tune"), "Tuning").answer == NOT_MEASURED


def test_each_ranking_is_compared_with_random_heads(tmp_path: Path) -> None:
    folder = ablated(tmp_path / "ablated", {"ram:response": 0.3, "hi:phrase": 0.0, "image_mass:last": 0.3})
    by_ram, by_hi = (f"Ablating the heads with the highest {score}" for score in ("RAM", "HI"))
    ram, hi = said(folder, by_ram), said(folder, by_hi)
    assert (ram.answer, hi.answer) == (HOLDS, OPEN)
    assert "judged by “Probability of the right answer”: of 1 contrast with random heads 1 are worse" in ram.why
    assert "zero ablation of 2 heads changes “Probability of the right answer” by -0.3" in ram.why
    assert said(ablated(tmp_path / "other", {"ram:response": -0.15}), by_ram).answer == FAILS


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        ({}, HOLDS),
        ({"core": 0.3}, FAILS),
        ({"speedup": 0.5}, FAILS),
        ({"core": 0.76}, OPEN),
        ({"speedup": 1.0}, OPEN),
        ({"sparse": 0}, NOT_MEASURED),
        ({"sparse": 5}, NOT_MEASURED),
        ({"by": "hi:response"}, NOT_MEASURED),
    ],
)
def test_sparse_prefill_must_be_faster_at_little_loss(tmp_path: Path, made: dict[str, Any], answer: str) -> None:
    assert (
        said(sparsified(tmp_path / "sparse", **made), "With full attention in the CoRe heads, sparse").answer == answer
    )


def test_dense_layers_are_reported_with_reason(tmp_path: Path) -> None:
    one = said(sparsified(tmp_path / "sparse", sparse=3), "With full attention in the CoRe heads, sparse")
    assert "Of layers of prompts 25 % were sparse, too few for a test. Dense were: 9: text, first tokens" in one.why


@pytest.mark.parametrize(("core", "random", "answer"), [(0.8, 0.4, HOLDS), (0.4, 0.8, FAILS), (0.8, 0.8, OPEN)])
def test_core_heads_are_compared_with_random_ones(tmp_path: Path, core: float, random: float, answer: str) -> None:
    one = said(
        sparsified(tmp_path / "sparse", core=core, random=random), "With full attention in the CoRe heads it loses"
    )
    assert one.answer == answer


def flows(*losses: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    return dict(zip(FLOWS, losses, strict=True))


@pytest.mark.parametrize(
    ("losses", "answers"),
    [
        (AS_TOLD, (HOLDS, HOLDS, HOLDS)),
        (flows((0, 1, 20, 60), (90, 2, 1, 0), (5, 70, 10, 1)), (FAILS, FAILS, FAILS)),
        # Both cost most in the same layer, so neither comes later.
        (flows((60, 1, 1, 1), (1, 1, 1, 1), (70, 1, 1, 1)), (HOLDS, FAILS, HOLDS)),
        (flows((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)), (OPEN, OPEN, OPEN)),
        # It is not little if it exceeds one of its rivals.
        (flows((30, 1, 1, 1), (50, 1, 1, 1), (1, 1, 70, 1)), (HOLDS, HOLDS, FAILS)),
    ],
)
def test_flows(tmp_path: Path, losses: dict[str, tuple[float, ...]], answers: tuple[str, ...]) -> None:
    folder = blocked(tmp_path / "blocked", losses)
    starts = ("The image flows to the question", "The question flows", "The image flows to the last")
    assert tuple(said(folder, start).answer for start in starts) == answers


def test_missing_control_is_mentioned(tmp_path: Path) -> None:
    told = "No control was subtracted"
    assert told in said(blocked(tmp_path / "most", overlap=0.9), "The image flows to the question").why
    assert told not in said(blocked(tmp_path / "none"), "The image flows to the question").why


def test_flows_of_chosen_heads_do_not_test_claims_of_all(tmp_path: Path) -> None:
    one = said(blocked(tmp_path / "blocked", heads=[(2, 1)]), "The question flows")
    assert (one.answer, one.why) == (
        NOT_MEASURED,
        "Flows were blocked in 1 chosen head only; the claim is about all heads.",
    )


@pytest.mark.parametrize(
    "made",
    [
        {"window": 9},
        {"losses": {name: AS_TOLD[name] for name in FLOWS[:2]}},
        {"losses": dict.fromkeys(FLOWS, (1.0,))},
    ],
)
def test_full_windows_and_missing_flows_test_nothing(tmp_path: Path, made: dict[str, Any]) -> None:
    assert said(blocked(tmp_path / "blocked", **made), "The question flows").answer == NOT_MEASURED
