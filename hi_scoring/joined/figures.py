"""Plots of knockouts, ablations and sparse prefill. Owns their style; equal results give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.evaluation.metrics import METRICS, find_metric
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.interventions.knockout_tables import ALL
from datasetkit.hi_scoring.interventions.tracking import TRACKED
from datasetkit.hi_scoring.report.plots import BAND, CONTRARY, INK, WIDTH_IN, panels, png, ticks
from datasetkit.hi_scoring.sparse.conditions import CORE, DENSE, RANDOM
from datasetkit.hi_scoring.sparse.folder import Sparsity
from datasetkit.hi_scoring.statistics import LEVEL

DOSED = ("answer_probability", "accuracy")
_GREY, _GREY_BAND, _LINE = "#7d7d7d", "#dcdcdc", "#9a9a9a"
_ABREAST, _TITLE_CHARACTERS = 3, 38
_RULES = {"top": (INK, BAND), "bottom": (CONTRARY, "#f0d3bd"), "random": (_GREY, _GREY_BAND)}
_KEPT = {DENSE: "#222222", CORE: INK, RANDOM: _GREY}
_MIB = 2**20


def knockout_curves(found: Knockouts) -> bytes:
    """Draw the change of the answer's probability over layers with the control; one panel per flow; PNG."""
    curves = found.tables.curves
    every = curves[curves["category"] == ALL]
    flows = list(dict.fromkeys(every["flow"]))

    def draw() -> Figure:
        figure, grid = _grid(len(flows), 2.5)
        for axes, flow in zip(grid, flows, strict=True):
            part = every[every["flow"] == flow]
            axes.axhline(0, color=_LINE, linewidth=1, zorder=0)
            _curve(axes, part, "control", "layer", (_GREY, _GREY_BAND), "as many random edges")
            _curve(axes, part, "change", "layer", (INK, BAND), "flow")
            axes.set_title(fill(f"{flow}, n = {part['n'].iloc[0]:,}", _TITLE_CHARACTERS))
            axes.set_xticks(ticks(part["layer"].max() + 1))
            axes.set_xlabel("window centred on layer")
            axes.set_ylabel("change, %")
        _legend(figure, grid[0])
        return figure

    return png(draw)


def tracking_curves(found: Knockouts) -> bytes:
    """Draw the probability of the answer's first token after each layer, with and without the final norm; PNG."""
    curves = found.tables.tracking_curves
    every = curves[curves["category"] == ALL]
    colours = dict(zip(TRACKED, (INK, "#6fa1cf", CONTRARY, "#e0a77f"), strict=True))
    # Capitalised tokens may be identical: with dashed lines, both are visible.
    lines = dict(zip(TRACKED, ("-", "--", "-", "--"), strict=True))

    def draw() -> Figure:
        figure, grid = _grid(2, 3.2)
        for axes, column, title in zip(
            grid, ("p", "p_unnormed"), ("with the final norm", "without, except after the last layer"), strict=True
        ):
            for token in (name for name in TRACKED if name in set(every["token"])):
                part = every[every["token"] == token].assign(after=lambda rows: rows["layer"] - 1)
                _curve(
                    axes, part, column, "after", (colours[token], colours[token]), token, alpha=0.18, style=lines[token]
                )
            axes.set_title(title)
            axes.set_xlabel("after layer (-1: none)")
            axes.set_ylabel("probability")
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            axes.set_ylim(0, 1.02)
        _legend(figure, grid[0])
        return figure

    return png(draw)


def dosed(found: Ablations) -> list[str]:
    """Return the metrics whose dose curves are drawn: those of answers, or the first two if there are no questions."""
    there = set(found.curves["metric"])
    return [name for name in DOSED if name in there] or [name for name in METRICS if name in there][: len(DOSED)]


def dose_curves(found: Ablations, metric: str) -> bytes:
    """Draw a metric over numbers of ablated heads: top, bottom, random; one panel per ranking and mode; PNG."""
    curves = found.curves[found.curves["draw"].isna() & (found.curves["metric"] == metric)]
    rankings, modes = curves["ranking"].unique(), curves["mode"].unique()
    places = list(product(rankings, modes))
    tested = found.contrasts[found.contrasts["metric"] == metric]

    def draw() -> Figure:
        figure, grid = _grid(len(places), 2.7, is_shared=True)
        for axes, (ranking, mode) in zip(grid, places, strict=True):
            part = curves[(curves["ranking"] == ranking) & (curves["mode"] == mode)]
            axes.axhline(0, color=_LINE, linewidth=1, zorder=0)
            for rule, colours in _RULES.items():
                _curve(axes, part[part["rule"] == rule], "shift", "heads", colours, rule, ends=("low", "high"))
            sure = tested[(tested["ranking"] == ranking) & (tested["mode"] == mode) & (tested["p_holm"] < LEVEL)]
            axes.scatter(sure["heads"], sure["top"], s=90, facecolors="none", edgecolors="black", zorder=4)
            axes.set_title(fill(f"{ranking}, {mode}", _TITLE_CHARACTERS))
            axes.set_xlabel(f"ablated heads, of {round(part['heads'].iloc[0] / part['share'].iloc[0]):,}")
            axes.set_ylabel("shift")
            axes.set_xticks(sorted(part["heads"].unique()))
        _legend(figure, grid[0])
        return figure

    return png(draw)


def sparsity_bars(found: Sparsity) -> bytes:
    """Draw speed, memory (if measurable) and quality of dense, CoRe and random heads, with intervals; PNG."""
    costs, quality = found.costs.set_index("group"), found.quality
    groups = [group for group in _KEPT if group in costs.index]
    metrics = [name for name in METRICS if name in set(quality["metric"])]
    speed = costs.loc[groups].rename(columns={"speedup_low": "low", "speedup_high": "high"})
    peak = costs.loc[groups, "peak"].astype(float) / _MIB
    has_memory = bool((peak > 0).any())
    against = quality[quality["against"] == DENSE].set_index(["metric", "group"])

    def draw() -> Figure:
        figure, grid = _grid(1 + has_memory + len(metrics), 1.9)
        _bars(grid[0], groups, speed["speedup"], speed["low"], speed["high"])
        grid[0].set_title("times as fast to the first token")
        if has_memory:
            _bars(grid[1], groups, peak, peak, peak)
            grid[1].set_title("peak memory, MiB")
        for axes, metric in zip(grid[1 + has_memory :], metrics, strict=True):
            rows = against.loc[[(metric, group) for group in groups]]
            before = rows["figure"].iloc[0]
            # The dense model's figure has no interval; changes from it have one.
            low, high = (before + rows[end].fillna(0.0) for end in ("low", "high"))
            _bars(axes, groups, rows["figure"], low, high)
            axes.axvline(before, color=_LINE, linewidth=1, linestyle="--", zorder=3)
            axes.set_title(fill(find_metric(metric).label, _TITLE_CHARACTERS))
        return figure

    return png(draw)


def _grid(count: int, height: float, *, is_shared: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels, as many per row as a page has room for."""
    width = WIDTH_IN / _ABREAST * min(_ABREAST, count)
    return panels(count, _ABREAST, width, height, 0.4, sharey=is_shared)


def _curve(
    axes: Axes,
    part: pd.DataFrame,
    column: str,
    across: str,
    colours: tuple[str, str],
    label: str,
    *,
    ends: tuple[str, str] | None = None,
    alpha: float = 0.6,
    style: str = "-",
) -> None:
    low, high = ends or (f"{column}_low", f"{column}_high")
    line, band = colours
    axes.fill_between(part[across], part[low], part[high], color=band, alpha=alpha, linewidth=0)
    axes.plot(part[across], part[column], color=line, linestyle=style, marker="o", markersize=3.5, label=label)


def _bars(axes: Axes, groups: Sequence[str], values: pd.Series, low: pd.Series, high: pd.Series) -> None:
    places = np.arange(len(groups))
    colours = [_KEPT[group] for group in groups]
    axes.barh(places, values.to_numpy(float), color=colours, alpha=0.75, height=0.6)
    axes.hlines(places, low.to_numpy(float), high.to_numpy(float), color="black", linewidth=1.4, zorder=3)
    axes.set_yticks(places, groups)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _legend(figure: Figure, first: Axes) -> None:
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
