"""Statistics as tables for users. Owns their columns and bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from datasetkit.core.results import Result
from datasetkit.export.statistics.statistics import Statistics

_ROWS_SHOWN = 15
_BAR_WIDTH = 24
_COUNTS = (
    "records",
    "described",
    "pictures",
    "objects",
    "key_objects",
    "crowds",
    "without_mask",
    "phrases",
    "links",
    "candidates",
    "questions",
)


@dataclass(frozen=True, slots=True)
class StatisticsReport(Result):
    """Statistics of a dataset, and the files of their plots."""

    statistics: Statistics
    plots: tuple[Path, ...]

    def __repr__(self) -> str:
        total = self.statistics.total
        return f"StatisticsReport({total.records:,} records, {total.objects:,} objects, {total.phrases:,} phrases)"

    def report(self) -> Iterator[RenderableType]:
        """Yield the tables, and then the paths of the plots."""
        yield from statistics_tables(self.statistics)
        yield from (f"wrote {path}" for path in self.plots)

    def as_json(self) -> dict[str, Any]:
        """Return all counts, as ``statistics.json`` has them."""
        return {**self.statistics.to_json(), "plots": list(map(str, self.plots))}


def statistics_tables(statistics: Statistics) -> Iterator[Table]:
    """Yield counts by split, and then tables of the whole dataset."""
    total = statistics.total
    summaries = {**statistics.splits, "all": total}
    counts = ((name, [f"{getattr(item, name):,}" for item in summaries.values()]) for name in _COUNTS)
    yield _figures("counts", summaries, counts)
    yield _shares("phrases by status", total.phrase_status)
    yield _shares("objects by status", total.object_status)
    yield _shares(f"categories ({total.category_count} in all)", total.categories, total.objects)
    yield _shares("licenses", total.licenses)
    if total.scores:
        scores = ((name, [f"{item.measured:,}", *item.figures]) for name, item in total.scores.items())
        yield _figures("scores of objects", ("objects", "mean", "5 %", "25 %", "median", "75 %", "95 %"), scores)


def _figures(title: str, columns: Iterable[str], rows: Iterable[tuple[str, Sequence[str]]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, figures in rows:
        table.add_row(name.replace("_", " "), *figures)
    return table


def _shares(title: str, counts: Mapping[str, int], whole: int | None = None) -> Table:
    """Return a table of counts with their shares of ``whole``, by default of their sum."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    total = (sum(counts.values()) if whole is None else whole) or 1
    most = max(counts.values(), default=0) or 1
    for name, count in list(counts.items())[:_ROWS_SHOWN]:
        table.add_row(name, f"{count:,}", f"{count / total:.1%}", "█" * round(_BAR_WIDTH * count / most))
    return table
