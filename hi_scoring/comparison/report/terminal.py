"""Terminal report of a comparison. Owns the columns of its tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from datasetkit.core.results import Result
from datasetkit.hi_scoring.comparison.cells import TEST
from datasetkit.hi_scoring.comparison.compare import CELLS_NAME, Comparison
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
from datasetkit.hi_scoring.comparison.table import contrasts_table, shifts_table
from datasetkit.hi_scoring.evaluation.metrics import find_metric
from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.runs.files import records_of
from datasetkit.hi_scoring.scores.run import PAGE_NAME

# Width of a number: three digits, a point, a sign and a mark.
_CELL_CHARACTERS = 7


@dataclass(frozen=True, eq=False, repr=False)
class ComparisonResult(Comparison, Result):
    """Tuned models in a folder, compared with the untuned one."""

    folder: Path = field(default=Path(), kw_only=True)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """See :meth:`Comparison.load`."""
        return replace(super().load(Path(folder)), folder=Path(folder))

    @cached_property
    def shifts(self) -> pd.DataFrame:
        """See :func:`datasetkit.hi_scoring.comparison.table.shifts_table`."""
        return shifts_table(self)

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """See :func:`datasetkit.hi_scoring.comparison.table.contrasts_table`."""
        return contrasts_table(self)

    @property
    def page(self) -> Path:
        """The path of the HTML page."""
        return self.folder / PAGE_NAME

    def __repr__(self) -> str:
        return f"<ComparisonResult in {self.folder}: {', '.join(self.groups)}>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: figures, shifts and contrasts, and what was tuned."""
        yield from comparison_tables(self, self.shifts, self.contrasts)
        for group, cells in self.groups.items():
            first = cells[0]
            share = first.trainable / first.parameters
            yield f"{group}: {first.trainable:,} trainable parameters, {share:.4%} of {first.parameters:,}"
            yield from (f"  {cell.name}: {', '.join(cell.modules)}" for cell in cells)
        yield f"wrote {self.folder} (adapters: {CELLS_NAME}/NAME/adapter; tables: comparison.md, *.parquet)"
        yield f"open {self.page} in a browser"

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        told = {"folder": str(self.folder), "page": str(self.page), "groups": list(self.groups)}
        return {**told, "shifts": records_of(self.shifts), "contrasts": records_of(self.contrasts)}


def comparison_tables(
    comparison: Comparison, shifts: pd.DataFrame, contrasts: pd.DataFrame
) -> Iterator[RenderableType]:
    """Yield what a comparison prints last: figures and shifts, contrasts on the test set, a sentence on the claim."""
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
    # Seven metrics fit into a terminal of 80 columns.
    table = plain_table(f"{test}: figures, with shifts from the untuned model below", f"{caption}\n", gap=0)
    table.add_column("tuned, trainable parameters", overflow="fold")
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
        f"sizes of shifts, regardless of sign; {mark_sentence(contrasts, TEST)}\n",
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
