"""Summary of a comparison in numbers. Owns the rows that terminal, page and Markdown all show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from datasetkit.core.text import counted
from datasetkit.hi_scoring.comparison.cells import CellResult
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.report.glossary import MARK, heading_of, mark_sentence
from datasetkit.hi_scoring.comparison.trials import UNTUNED
from datasetkit.hi_scoring.evaluation.metrics import METRICS
from datasetkit.hi_scoring.evaluation.shifts import DRAWS
from datasetkit.hi_scoring.report.text import NOT_MEASURED, interval, number, p_value, percent, setting_lines, signed
from datasetkit.hi_scoring.statistics import LEVEL, SEED


@dataclass(frozen=True)
class Measure:
    """A metric of a group: its figure, with the spread of several runs, and its shift; blank for the untuned model."""

    figure: str
    spread: str
    shift: str
    interval: str


@dataclass(frozen=True)
class GroupRow:
    """A configuration, with its measures in the order of the metrics."""

    group: str
    trainable: str
    share: str
    runs: int
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class ContrastRow:
    """A group's shift in a metric compared with another group's."""

    metric: str
    second: str
    difference: str
    size: str
    interval: str
    p: str
    p_holm: str


@dataclass(frozen=True)
class TunedRow:
    """The tuned parts of a group's runs: layers, heads (blank for whole layers), and the modules' full names."""

    group: str
    seeds: str
    layers: str
    heads: str
    modules: tuple[str, ...]


def tests_of(shifts: pd.DataFrame) -> list[str]:
    """Return the names of the test sets."""
    return [str(name) for name in shifts["test"].unique()]


def metrics_of(shifts: pd.DataFrame, test: str) -> list[str]:
    """Return the metrics of a test set, without the accuracies over questions of one type."""
    there = set(shifts[shifts["test"] == test]["metric"])
    return [name for name in METRICS if name in there]


def types_of(shifts: pd.DataFrame, test: str) -> list[str]:
    """Return the accuracies over questions of one type."""
    return [str(name) for name in shifts[shifts["test"] == test]["metric"].unique() if name not in METRICS]


def group_rows(shifts: pd.DataFrame, test: str, metrics: Sequence[str]) -> list[GroupRow]:
    """Return one row per group, the untuned model first."""
    part = shifts[(shifts["test"] == test) & shifts["metric"].isin(list(metrics))]
    by_group: dict[str, dict[str, dict[Hashable, Any]]] = defaultdict(dict)
    for row in part.to_dict("records"):
        by_group[row["group"]][row["metric"]] = row
    rows = []
    for group, found in by_group.items():
        first = found[metrics[0]]
        rows.append(
            GroupRow(
                group,
                f"{first['trainable']:,}",
                percent(first["share"]) if first["trainable"] else NOT_MEASURED,
                int(first["runs"]),
                tuple(_measure(found[name]) for name in metrics),
            )
        )
    return rows


def runs_sentence(comparison: Comparison) -> str:
    """Return how many runs a figure is the mean of; blank if all ran once."""
    runs = {len(cells) for cells in comparison.groups.values()}
    if runs == {1}:
        return ""
    return f"means of {max(runs)} runs" if len(runs) == 1 else f"means of {min(runs)} to {max(runs)} runs"


def fewest_samples(shifts: pd.DataFrame, test: str, metric: str) -> str:
    """Return the number of samples with a value, in the group that has fewest."""
    return f"{shifts[(shifts['test'] == test) & (shifts['metric'] == metric)]['n'].min():,}"


def contrast_rows(contrasts: pd.DataFrame, test: str, first: str) -> list[ContrastRow]:
    """Return the comparison of a group with its rivals."""
    part = contrasts[(contrasts["test"] == test) & (contrasts["first"] == first)]
    return [
        ContrastRow(
            heading_of(row["metric"]),
            row["second"],
            signed(row["difference"]),
            _marked(row["size"], row["p_holm"]),
            interval(row["low"], row["high"]),
            p_value(row["p"]),
            p_value(row["p_holm"]),
        )
        for row in part.to_dict("records")
    ]


def contrast_tables(contrasts: pd.DataFrame) -> Iterator[tuple[str, str, list[ContrastRow], str]]:
    """Yield each test set, a group compared with others on it, the rows, and what their marks mean."""
    for test, first in contrasts[["test", "first"]].drop_duplicates().itertuples(index=False):
        yield test, first, contrast_rows(contrasts, test, first), mark_sentence(contrasts, test)


def tuned_rows(comparison: Comparison) -> list[TunedRow]:
    """Return what was tuned, in one row for runs that tuned the same."""
    rows = []
    for group, cells in comparison.groups.items():
        for (layers, heads, modules), alike in groupby(sorted(cells, key=_tuned), key=_tuned):
            rows.append(TunedRow(group, ", ".join(str(cell.seed) for cell in alike), layers, heads, modules))
    return rows


def lead(comparison: Comparison, description: Mapping[str, Any]) -> str:
    """Return two sentences on what was done."""
    seeds = _seeds(comparison)
    told = f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"only seed {seeds[0]}: seeds were not varied"
    sets = [
        f"{description['tests'][name]['name']} ({name}, {counted(len(measured.sample_ids), 'sample')})"
        for name, measured in comparison.untuned.measured.items()
    ]
    return (
        f"{counted(len(comparison.groups), 'configuration')} tuned on {counted(description['examples'], 'example')} of "
        f"{description['data']['name']}, {told}. Tested on {' and '.join(sets)}."
    )


def settings(comparison: Comparison, description: Mapping[str, Any]) -> dict[str, str]:
    """Return all settings needed to reproduce it, by name."""
    return {
        **dict(setting_lines(description)),
        "configurations": ", ".join(comparison.groups),
        "seeds": ", ".join(map(str, _seeds(comparison))),
        "parameters of the model": f"{comparison.untuned.parameters:,}",
        "draws of the bootstrap": f"{DRAWS:,}, seed {SEED}",
    }


def _seeds(comparison: Comparison) -> list[int]:
    return sorted({cell.seed for cells in comparison.groups.values() for cell in cells})


def _measure(row: Mapping[Hashable, Any]) -> Measure:
    if row["group"] == UNTUNED:
        return Measure(number(row["figure"]), "", "", "")
    spread = f"± {number(row['spread'])}" if np.isfinite(row["spread"]) else ""
    return Measure(
        number(row["figure"]), spread, _marked(row["shift"], row["p_holm"]), interval(row["low"], row["high"])
    )


def _marked(value: float, p_holm: float) -> str:
    return f"{signed(value)}{MARK if p_holm < LEVEL else ''}"


def _tuned(cell: CellResult) -> tuple[str, str, tuple[str, ...]]:
    """Return layers, heads and modules, as in :class:`TunedRow`."""
    selection = cell.selection or {"layers": (), "heads": None}
    by_layer = groupby(selection["heads"] or (), key=lambda head: head[0])
    heads = "; ".join(f"layer {layer}: {_ranges([head for _, head in found])}" for layer, found in by_layer)
    return _ranges(selection["layers"]), heads, cell.modules


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers with runs as their ends: ``0-3, 7``."""
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), key=lambda numbered: numbered[1] - numbered[0])
    ]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
