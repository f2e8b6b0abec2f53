"""What a report says in numbers: each column once, and intervals that can be read."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hi_scoring.report.summary import columns_of, head_rows
from hi_scoring.report.terminal import scores_tables
from hi_scoring.results import Head
from tests.hi_scoring.report.made import SHOWN, scores


@pytest.mark.parametrize("lead", SHOWN)
def test_the_score_that_heads_are_ranked_by_is_in_one_column_alone(lead: str) -> None:
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
