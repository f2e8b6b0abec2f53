"""One self-contained page about a comparison. Owns what stands in it; numbers come from the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.report.conclusions import Conclusion, conclusions, no_conclusion
from datasetkit.hi_scoring.comparison.report.figures import final_figures, forest, main_metrics, trade_off
from datasetkit.hi_scoring.comparison.report.glossary import MARK, explained, heading_of, mark_sentence, method
from datasetkit.hi_scoring.comparison.report.predictions import Asked
from datasetkit.hi_scoring.comparison.report.summary import (
    GroupRow,
    contrast_tables,
    fewest_samples,
    group_rows,
    lead,
    metrics_of,
    settings,
    tests_of,
    tuned_rows,
    types_of,
)
from datasetkit.hi_scoring.comparison.table import TEST
from datasetkit.hi_scoring.report import pages
from datasetkit.hi_scoring.statistics import LEVEL

_HOLDING, _FAILING, _OPEN = "for the claim", "against it", "cannot be told"


@dataclass(frozen=True)
class _Ground:
    """What one metric says of the claim, and the shifts that it says it by: of the top group, then of its rivals."""

    metric: str
    shifts: tuple[str, ...]
    says: str


@dataclass(frozen=True)
class _Table:
    """Groups down, metrics across; below them the samples of each."""

    headings: tuple[str, ...]
    rows: tuple[GroupRow, ...]
    counts: tuple[str, ...]


@dataclass(frozen=True)
class _TestSet:
    """All that was measured on a test set; without questions of known types, that table has no heading."""

    name: str
    data: str
    mark: str
    metrics: _Table
    types: _Table
    forest: bytes
    figures: bytes


def write_page(
    path: Path,
    comparison: Comparison,
    shifts: pd.DataFrame,
    contrasts: pd.DataFrame,
    description: Mapping[str, Any],
    asked: Sequence[Asked] = (),
) -> None:
    """Write the page; what models were asked and said is shown side by side."""
    tests = tests_of(shifts)
    others = [name for name in tests if name != TEST and main_metrics(shifts, (TEST, name))]
    found = conclusions(comparison, contrasts)
    pages.write_page(
        path,
        __package__,
        title=f"Ways of tuning {description['model']['id']}",
        lead=lead(comparison, description),
        scores=description["scores"],
        conclusions=[(one, _grounds(one, shifts)) for one in found],
        untested=None if found else no_conclusion(comparison),
        has_runs=max(map(len, comparison.groups.values())) > 1,
        mark=MARK,
        level=LEVEL,
        terms=explained(list(dict.fromkeys(name for test in tests for name in metrics_of(shifts, test)))),
        tests=[_test_set(comparison, shifts, description, test) for test in tests],
        trades=[(name, trade_off(shifts, (TEST, name), main_metrics(shifts, (TEST, name)))) for name in others],
        contrasts=list(contrast_tables(contrasts)),
        tuned=tuned_rows(comparison),
        asked=asked,
        settings=settings(comparison, description).items(),
        method=method(shifts, contrasts).items(),
    )


def _grounds(conclusion: Conclusion, shifts: pd.DataFrame) -> list[_Ground]:
    verdict = conclusion.verdict
    metrics = metrics_of(shifts, TEST)
    rows = {row.group: row.measures for row in group_rows(shifts, TEST, metrics)}
    return [
        _Ground(
            heading_of(name),
            tuple(rows[group][place].shift for group in (verdict.group, *conclusion.rivals)),
            _HOLDING if name in verdict.holding else _FAILING if name in verdict.failing else _OPEN,
        )
        for place, name in enumerate(metrics)
    ]


def _test_set(comparison: Comparison, shifts: pd.DataFrame, description: Mapping[str, Any], test: str) -> _TestSet:
    metrics, types = metrics_of(shifts, test), types_of(shifts, test)
    return _TestSet(
        test,
        description["tests"][test]["name"],
        mark_sentence(shifts, test),
        _table(shifts, test, metrics, [heading_of(name) for name in metrics]),
        _table(shifts, test, types, [name.partition(":")[2] for name in types]),
        forest(comparison, shifts, test),
        final_figures(comparison, shifts, test),
    )


def _table(shifts: pd.DataFrame, test: str, metrics: Sequence[str], headings: Sequence[str]) -> _Table:
    counts = tuple(fewest_samples(shifts, test, name) for name in metrics)
    return _Table(tuple(headings), tuple(group_rows(shifts, test, metrics)), counts)
