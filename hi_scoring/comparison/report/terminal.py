"""A comparison as tables in the terminal. Owns their columns."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.report.conclusions import conclusions, no_conclusion
from datasetkit.hi_scoring.comparison.report.glossary import LOWER_IS_BETTER, heading_of, mark_sentence
from datasetkit.hi_scoring.comparison.report.summary import (
    contrast_rows,
    fewest_samples,
    group_rows,
    metrics_of,
    runs_sentence,
    tests_of,
)
from datasetkit.hi_scoring.comparison.table import TEST
from datasetkit.hi_scoring.evaluation.metrics import find_metric
from datasetkit.hi_scoring.report.tables import plain_table

# Three digits, a point, a sign and a mark.
_CELL_CHARACTERS = 7


def comparison_tables(
    comparison: Comparison, shifts: pd.DataFrame, contrasts: pd.DataFrame
) -> Iterator[RenderableType]:
    """Give what a comparison ends with: figures and shifts, contrasts on the test set, a sentence on the claim.

    Args:
        comparison: the cells.
        shifts: their :func:`datasetkit.hi_scoring.comparison.table.shifts_table`.
        contrasts: their :func:`datasetkit.hi_scoring.comparison.table.contrasts_table`.

    """
    for test in tests_of(shifts):
        yield _shifts(comparison, shifts, test)
    for first in contrasts[contrasts["test"] == TEST]["first"].unique():
        yield _contrasts(contrasts, first)
    found = conclusions(comparison, contrasts)
    for conclusion in found:
        yield Text(f"{conclusion.sentence}\n")
    if not found:
        yield Text(f"{no_conclusion(comparison)}\n")


def _shifts(comparison: Comparison, shifts: pd.DataFrame, test: str) -> Table:
    metrics = metrics_of(shifts, test)
    told = [runs_sentence(comparison), mark_sentence(shifts, test)]
    if any(not find_metric(name).higher_is_better for name in metrics):
        told.append(f"{LOWER_IS_BETTER} lower is better")
    caption = "; ".join(part for part in told if part)
    # Seven metrics fit into a terminal of 80.
    table = plain_table(f"{test}: figures, and below them shifts from the untuned model", f"{caption}\n", gap=0)
    table.add_column("tuned, numbers trained", overflow="fold")
    for name in metrics:
        table.add_column(heading_of(name), justify="right", width=_CELL_CHARACTERS, overflow="fold")
    for row in group_rows(shifts, test, metrics):
        trained = "" if row.trainable == "0" else f"{row.trainable} ({row.share})"
        table.add_row(
            Text(f"{row.group}\n{trained}".rstrip()),
            *(f"{one.figure}\n{one.shift}".rstrip() for one in row.measures),
        )
    table.add_section()
    table.add_row("samples", *(fewest_samples(shifts, test, name) for name in metrics))
    return table


def _contrasts(contrasts: pd.DataFrame, first: str) -> Table:
    table = plain_table(
        f"{TEST}: how much more {first} shifts the model than others",
        f"sizes of shifts, whichever way they go; {mark_sentence(contrasts, TEST)}\n",
        gap=0,
    )
    table.add_column("metric")
    table.add_column("than", overflow="fold")
    for name in ("larger by", "95 %", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for row in contrast_rows(contrasts, TEST, first):
        metric = row.metric if row.metric != before else ""
        table.add_row(metric, Text(row.second), row.size, row.interval, row.p_holm)
        before = row.metric
    return table
