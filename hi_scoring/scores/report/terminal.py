"""Head scores as tables in the terminal. Owns their columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.report.text import interval, number
from datasetkit.hi_scoring.scores.report.glossary import heading_of
from datasetkit.hi_scoring.scores.report.summary import STABILITY_TOP, columns_of, head_rows, stability
from datasetkit.hi_scoring.scores.results import HeadScores


def scores_tables(scores: HeadScores, by: str, top: int) -> Iterator[Table]:
    """Give the tables that ``datasetkit score`` ends with: the best heads, the best layers, how stable that is."""
    yield _heads(scores, by, top)
    yield _layers(scores, by)
    yield _stability(scores, by)


def _heads(scores: HeadScores, by: str, top: int) -> Table:
    # Without padding, ten columns fit into a terminal of 80.
    table = plain_table(f"heads by {by}", gap=0)
    for name in ("layer", "head", *columns_of(scores, by), "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in head_rows(scores, by, scores.top(top, by)):
        table.add_row(str(row.head.layer), str(row.head.head), *row.cells, f"{row.n:,}")
    return table


def _layers(scores: HeadScores, by: str) -> Table:
    score, _, positions = by.partition(":")
    layers = scores.layers_table()
    layers = layers[(layers["score"] == score) & (layers["positions"] == positions)].sort_values(
        "mean", ascending=False, kind="stable"
    )
    table = plain_table("layers (mean over heads)")
    for name in ("layer", heading_of(score), "95 %", "chance"):
        table.add_column(name, justify="right")
    for layer, mean, low, high, chance in layers[["layer", "mean", "low", "high", "chance"]].to_numpy(float).tolist():
        table.add_row(f"{layer:.0f}", number(mean), interval(low, high), number(chance))
    return table


def _stability(scores: HeadScores, by: str) -> Table:
    found = stability(scores, by)
    table = plain_table(f"stability of the ranking by {by}", found.warning)
    table.add_column("compared")
    table.add_column("Kendall tau", justify="right")
    table.add_column(f"Jaccard of top {STABILITY_TOP}", justify="right")
    for row in found.rows:
        table.add_row(row.what, row.tau, row.jaccard)
    return table
