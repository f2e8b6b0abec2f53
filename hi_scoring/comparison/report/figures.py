"""Plots of a comparison: shifts, figures, test against forgetting. Owns their style; equal tables give equal bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.report.glossary import LOWER_IS_BETTER
from datasetkit.hi_scoring.comparison.report.summary import metrics_of
from datasetkit.hi_scoring.comparison.trials import UNTUNED
from datasetkit.hi_scoring.evaluation.metrics import find_metric
from datasetkit.hi_scoring.report.plots import CONTRARY, INK, WIDTH_IN, panels, png
from datasetkit.hi_scoring.statistics import LEVEL

_COLOURS = {"top": INK, "bottom": CONTRARY, "random": "#7d7d7d", "all": "#222222"}
_OTHER_COLOUR, _LINE = "#4f8a5b", "#9a9a9a"
_MARKERS = "osD^vP*X"
_ABREAST, _TITLE_CHARACTERS = 4, 24
# One metric of words, one of objects, one of answers.
_MAIN = ("cider", "key_recall", "accuracy")


@dataclass(frozen=True)
class _Look:
    colour: str
    marker: str


def forest(comparison: Comparison, shifts: pd.DataFrame, test: str) -> bytes:
    """Draw each group's shift with its interval, and each run's shift; one panel per metric; return a PNG."""

    def panel(axes: Axes, name: str) -> None:
        axes.axvline(0, color=_LINE, linewidth=1, zorder=0)
        before = comparison.untuned.measured[test].figure(name)
        for place, (group, row) in enumerate(_by_group(shifts, test, name).items()):
            runs = [cell.measured[test].figure(name) - before for cell in comparison.groups[group]]
            look = looks[group]
            axes.hlines(place, row["low"], row["high"], color=look.colour, linewidth=1.8)
            is_sure = row["p_holm"] < LEVEL
            _mark(axes, row["shift"], place, look, is_filled=is_sure)
            _runs(axes, runs, place, look)

    looks = _looks(comparison.groups)
    return _panels(metrics_of(shifts, test), list(comparison.groups), panel, "shift from untuned")


def final_figures(comparison: Comparison, shifts: pd.DataFrame, test: str) -> bytes:
    """Draw the figures of groups, their runs and the untuned model; one panel per metric; return a PNG."""

    def panel(axes: Axes, name: str) -> None:
        before = comparison.untuned.measured[test].figure(name)
        if np.isfinite(before):
            axes.axvline(before, color=_LINE, linewidth=1.2, linestyle="--", zorder=0)
        for place, (group, row) in enumerate(_by_group(shifts, test, name).items()):
            _mark(axes, row["figure"], place, looks[group], is_filled=True)
            _runs(axes, [cell.measured[test].figure(name) for cell in comparison.groups[group]], place, looks[group])

    looks = _looks(comparison.groups)
    return _panels(metrics_of(shifts, test), list(comparison.groups), panel, "figure")


def main_metrics(shifts: pd.DataFrame, tests: Sequence[str]) -> list[str]:
    """Return at most three metrics in which test sets are compared: metrics that all of them have."""
    shared = [name for name in metrics_of(shifts, tests[0]) if all(name in metrics_of(shifts, one) for one in tests)]
    return [name for name in _MAIN if name in shared] or shared[: len(_MAIN)]


def trade_off(shifts: pd.DataFrame, tests: tuple[str, str], metrics: Sequence[str]) -> bytes:
    """Draw each group's shift on one test set (x) and on another (y), with both intervals; return a PNG."""
    groups = [str(group) for group in shifts["group"].unique() if group != UNTUNED]
    looks = _looks(groups)

    def panel(axes: Axes, name: str) -> None:
        axes.axvline(0, color=_LINE, linewidth=1, zorder=0)
        axes.axhline(0, color=_LINE, linewidth=1, zorder=0)
        across, up = (_by_group(shifts, test, name) for test in tests)
        for group in groups:
            x, y, look = across[group], up[group], looks[group]
            axes.hlines(y["shift"], x["low"], x["high"], color=look.colour, linewidth=1, alpha=0.45)
            axes.vlines(x["shift"], y["low"], y["high"], color=look.colour, linewidth=1, alpha=0.45)
            axes.plot(x["shift"], y["shift"], look.marker, color=look.colour, markersize=7, label=group)
        axes.set_title(_title(name))
        axes.set_xlabel(f"shift on {tests[0]}")
        axes.set_ylabel(f"shift on {tests[1]}")
        axes.xaxis.set_major_locator(MaxNLocator(5))

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH_IN / 3 * len(metrics), 3.6 + 0.2 * -(-len(groups) // 4)), layout="constrained")
        grid = figure.subplots(1, len(metrics), squeeze=False)
        for axes, name in zip(grid.flat, metrics, strict=True):
            panel(axes, name)
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=2 * len(metrics) - 1)
        return figure

    return png(draw)


def _panels(names: Sequence[str], groups: Sequence[str], panel: Callable[[Axes, str], None], below: str) -> bytes:
    columns = min(_ABREAST, len(names))

    def draw() -> Figure:
        width = WIDTH_IN * (columns + 0.6) / (_ABREAST + 0.6)
        figure, grid = panels(len(names), _ABREAST, width, 0.34 * len(groups) + 1.15, sharey=True)
        for place, (axes, name) in enumerate(zip(grid, names, strict=True)):
            panel(axes, name)
            axes.set_title(_title(name))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
            axes.set_axisbelow(True)
            if place + columns >= len(names):
                axes.set_xlabel(below)
        grid[0].set_ylim(len(groups) - 0.4, -0.6)
        grid[0].set_yticks(range(len(groups)), groups)
        return figure

    return png(draw)


def _by_group(shifts: pd.DataFrame, test: str, name: str) -> Mapping[str, Mapping[str, float]]:
    """Return the rows of tuned groups by name, in order."""
    part = shifts[(shifts["test"] == test) & (shifts["metric"] == name) & (shifts["group"] != UNTUNED)]
    return {str(row["group"]): row for row in part.to_dict("records")}  # type: ignore[misc]


def _mark(axes: Axes, value: float, place: int, look: _Look, *, is_filled: bool) -> None:
    inside = look.colour if is_filled else "white"
    axes.plot(value, place, look.marker, markersize=6.5, color=look.colour, markerfacecolor=inside, zorder=3)


def _runs(axes: Axes, values: Sequence[float], place: int, look: _Look) -> None:
    """Draw runs below their mean; a single run is its mean."""
    if len(values) > 1:
        axes.scatter(values, [place + 0.27] * len(values), s=9, color=look.colour, alpha=0.45, linewidths=0)


def _looks(groups: Sequence[str] | Mapping[str, object]) -> dict[str, _Look]:
    """Return a style for each group: one colour per rule, different markers within it."""
    seen: Counter[str] = Counter()
    looks = {}
    for group in groups:
        colour = _COLOURS.get(group.partition("-")[0], _OTHER_COLOUR)
        looks[group] = _Look(colour, _MARKERS[seen[colour] % len(_MARKERS)])
        seen[colour] += 1
    return looks


def _title(name: str) -> str:
    metric = find_metric(name)
    label = metric.label if metric.higher_is_better else f"{metric.label} {LOWER_IS_BETTER}"
    return fill(label, _TITLE_CHARACTERS)
