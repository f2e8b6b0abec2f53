"""Summary in numbers: each column once, and readable intervals."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from datasetkit.hi_scoring.scores.report.summary import columns_of, head_rows, layer_sentence, stability
from datasetkit.hi_scoring.scores.report.terminal import scores_tables
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.options.heads import SCORE_NAMES
from tests.hi_scoring.scores.report.made import SHOWN, made, scores

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("lead", SHOWN)
def test_ranked_score_has_one_column(lead: str) -> None:
    by = f"{lead}:response"
    [row] = head_rows(scores(), by, [Head(0, 0)])
    assert len(row.cells) == len(columns_of(scores(), by)) == 3 + len(SHOWN) - 1
    found = [cell for heading, cell in zip(columns_of(scores(), by), row.cells, strict=True) if heading != "95 %"]
    assert sorted(found) == sorted(["-", *(f"{value:.3f}" for value in SHOWN.values())])


def test_intervals_below_zero_can_be_read() -> None:
    [row] = head_rows(scores(), "hi_lift:response", [Head(0, 0)])
    assert row.cells[1] == "-0.200 to -0.200"


def test_what_is_not_defined_is_a_dash_in_the_terminal() -> None:
    console = Console(width=100, file=io.StringIO())
    with console.capture() as shown:
        console.print(*scores_tables(scores(), "hi:response", top=1))
    assert "0.500 to 0.500" in shown.get()
    assert "nan" not in shown.get()


@pytest.mark.parametrize("lead", SCORE_NAMES)
def test_no_number_is_cut_in_a_terminal_of_80_columns(lead: str) -> None:
    found = made({(name, "generated"): np.full((1200, 1, 2), -0.2) for name in SCORE_NAMES})
    console = Console(width=80, file=io.StringIO())
    with console.capture() as shown:
        console.print(*scores_tables(found, f"{lead}:generated", top=2))
    assert "…" not in shown.get()
    assert shown.get().count("-0.200 to -0.200") == 2 + 1
    heads = [line.split() for line in shown.get().splitlines() if line.rstrip().endswith(" 1,200")]
    assert [line[:2] for line in heads] == [["0", "0"], ["0", "1"]]


def ranked(agreement: float) -> HeadScores:
    """40 samples of 32 heads; at 0 they share no ranking, at 1 they share exactly one."""
    random = np.random.default_rng(0)
    samples = agreement * random.random((1, 4, 8)) + (1 - agreement) * random.random((40, 4, 8))
    return made({("hi", "response"): samples})


@pytest.mark.parametrize(("agreement", "is_weak"), [(0.0, True), (0.9, False)])
def test_a_weak_ranking_is_called_weak(agreement: float, is_weak: bool) -> None:
    found = stability(ranked(agreement), "hi:response")
    assert found.warning.startswith("The order of the heads is not settled") == is_weak
    assert bool(found.warning) == is_weak
    console = Console(width=80, file=io.StringIO())
    with console.capture() as shown:
        console.print(*scores_tables(ranked(agreement), "hi:response", top=1))
    assert ("The order of the heads is not settled" in shown.get()) == is_weak


def test_stability_is_compared_with_random_rankings() -> None:
    rows = {row.what: (row.tau, row.jaccard) for row in stability(ranked(0.5), "hi:response").rows}
    # Two random choices of 5 of 32 heads: 25 / 32 in common on average.
    assert rows["two random rankings"] == ("0.000", "0.093")


def test_one_sample_has_no_stability() -> None:
    one = made({("hi", "response"): np.random.default_rng(0).random((1, 4, 8))})
    assert "is unknown" in stability(one, "hi:response").warning


def test_layer_test_names_heads_as_observations() -> None:
    assert "observations of these tests are heads" in layer_sentence(ranked(0.5), "hi:response")
