"""Terminal report of head scores. Owns the columns of its tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from rich.console import RenderableType
from rich.table import Table

from datasetkit.core.results import Result
from datasetkit.core.text import counted
from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.report.text import FEW_SAMPLES, interval, number
from datasetkit.hi_scoring.runs.drops import drop_lines, drops_in
from datasetkit.hi_scoring.runs.files import records_of
from datasetkit.hi_scoring.scores.report.glossary import heading_of
from datasetkit.hi_scoring.scores.report.summary import STABILITY_TOP, columns_of, head_rows, stability
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.scores.run import PAGE_NAME


class ScoreResult(HeadScores, Result):
    """Scores of every head on every sample, ranked.

    Attributes:
        folder: the folder with the scores.
        by: SCORE:POSITIONS that heads are ranked by.
        shown: number of listed heads.

    """

    folder: Path
    by: str
    shown: int

    @classmethod
    def load(cls, folder: Path | str, by: str | None = None, shown: int = 10) -> Self:
        """See :meth:`HeadScores.load`."""
        found = super().load(folder)
        found.folder, found.by, found.shown = Path(folder), by or f"hi:{found.options.positions[0]}", shown
        return found

    @property
    def page(self) -> Path:
        """The path of the HTML page."""
        return self.folder / PAGE_NAME

    def __repr__(self) -> str:
        layers, heads = self.shape
        return f"<ScoreResult in {self.folder}: {layers} layers of {heads} heads, {len(self.record_ids)} samples>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: the best heads and layers, and how stable the ranking is."""
        yield from scores_tables(self, self.by, self.shown)
        samples = len(self.record_ids)
        if samples < FEW_SAMPLES:
            yield f"few samples    {samples}: intervals and rankings mean little below about {FEW_SAMPLES}"
        yield from (f"without scores  {line}" for line in drop_lines(self.folder, "row"))
        yield f"wrote {self.folder} (scores of {counted(samples, 'sample')})"
        yield f"open {self.page} in a browser"

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        (layers, heads), (score, _, place), table = self.shape, self.by.partition(":"), self.table()
        ranked = table[(table["score"] == score) & (table["positions"] == place)]
        return {
            "folder": str(self.folder),
            "page": str(self.page),
            "model": asdict(self.model),
            "data": self.dataset,
            "layers": layers,
            "heads": heads,
            "samples": len(self.record_ids),
            "ranked_by": self.by,
            "top": records_of(ranked.nlargest(self.shown, "mean").drop(columns=["score", "positions"])),
            "dropped": drops_in(self.folder),
        }


def scores_tables(scores: HeadScores, by: str, top: int) -> Iterator[Table]:
    """Yield the tables that ``datasetkit score`` prints last: best heads, best layers, stability of the ranking."""
    yield _heads(scores, by, top)
    yield _layers(scores, by)
    yield _stability(scores, by)


def _heads(scores: HeadScores, by: str, top: int) -> Table:
    # Without padding, ten columns fit into a terminal of 80 columns.
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
