"""Plots of statistics for cards and terminals. Owns their look; equal statistics give equal bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from datasetkit.core.files import whole_file
from datasetkit.export.dataset.manifest import ASSETS_FOLDER
from datasetkit.export.statistics.statistics import Histogram, Statistics, Summary

_BLUE, _ORANGE, _INK, _RULE = "#3d6b99", "#d08a4e", "#333333", "#e3e3e3"
_CATEGORIES_SHOWN = 20
_LABEL_CHARACTERS = 28
_LEVEL_LABEL_CHARACTERS = 50  # more labels on one axis would overlap
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
}


def write_plots(statistics: Statistics, folder: Path) -> tuple[Path, ...]:
    """Draw every non-empty plot to ``assets`` of a built folder.

    Returns:
        the files written.

    """
    assets = folder / ASSETS_FOLDER
    assets.mkdir(exist_ok=True)
    written = []
    with matplotlib.style.context(["default", _STYLE]):
        for name, (is_worth_it, draw) in _PLOTS.items():
            if is_worth_it(statistics.total):
                path = assets / f"{name}.png"
                with whole_file(path) as partial:
                    figure = draw(statistics.total)
                    figure.savefig(partial, format="png", dpi=120, facecolor="white", metadata={"Software": None})
                written.append(path)
    return tuple(written)


def _categories(summary: Summary) -> Figure:
    shown = list(summary.categories.items())[:_CATEGORIES_SHOWN]
    figure = Figure(figsize=(8, 0.9 + 0.25 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    more = summary.category_count - len(shown)
    axes.set_title("Objects by category" + (f" ({len(shown)} of {summary.category_count})" if more else ""))
    _bars_across(axes, [_shortened(name) for name, _ in shown], [count for _, count in shown])
    return figure


def _objects(summary: Summary) -> Figure:
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("Objects per record")
    series = {"all objects": summary.objects_per_record, "key objects": summary.key_objects_per_record}
    bins = _occupied(list(series.values()))
    for shift, colour, (label, histogram) in zip((-0.2, 0.2), (_BLUE, _ORANGE), series.items(), strict=True):
        counts = histogram.counts[bins]
        left.bar([place + shift for place in range(len(counts))], counts, 0.4, color=colour, label=label)
    _label_bins(left, count_labels(summary.objects_per_record.lower)[bins], "records")
    left.legend()
    right.set_title("Share of the image that an object covers")
    _columns(right, summary.mask_share, share_labels(summary.mask_share.lower), "objects")
    return figure


def _phrases(summary: Summary) -> Figure:
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("Phrases by status")
    labels = [status.replace("_", " ") for status in summary.phrase_status]
    _bars_across(left, labels, list(summary.phrase_status.values()), share_of=summary.phrases)
    right.set_title("Words per description")
    _columns(right, summary.description_words, count_labels(summary.description_words.lower), "records")
    return figure


_PLOTS: Mapping[str, tuple[Callable[[Summary], bool], Callable[[Summary], Figure]]] = {
    "categories": (lambda summary: bool(summary.categories), _categories),
    "objects": (lambda summary: summary.objects > 0, _objects),
    "phrases": (lambda summary: summary.phrases > 0, _phrases),
}


def _bars_across(axes: Axes, labels: Sequence[str], counts: Sequence[int], share_of: int | None = None) -> None:
    axes.barh(range(len(labels)), counts, 0.72, color=_BLUE)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(left=False)
    axes.set_xlim(0, max(counts) * (1.15 if share_of is None else 1.45))
    for place, count in enumerate(counts):
        share = "" if share_of is None else f"  ({100 * count / share_of:.1f} %)"
        axes.annotate(f"{count:,}{share}", (count, place), (4, 0), textcoords="offset points", va="center", size=10)


def _columns(axes: Axes, histogram: Histogram, labels: Sequence[str], unit: str) -> None:
    bins = _occupied([histogram])
    axes.bar(range(len(labels[bins])), histogram.counts[bins], 0.8, color=_BLUE)
    _label_bins(axes, labels[bins], unit)


def _label_bins(axes: Axes, labels: Sequence[str], unit: str) -> None:
    slanted = len(labels) * max(map(len, labels)) > _LEVEL_LABEL_CHARACTERS
    axes.set_xticks(range(len(labels)), labels, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axes.tick_params(axis="x", length=0, labelsize=10)
    axes.set_ylabel(unit)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value == int(value) else ""))
    axes.grid(axis="y")


def _occupied(histograms: Sequence[Histogram]) -> slice:
    """Return the bins that remain when bins at both ends that are empty in all histograms are cut off."""
    used = [index for item in histograms for index, count in enumerate(item.counts) if count]
    return slice(min(used), max(used) + 1) if used else slice(0, 1)


def count_labels(lower: Sequence[float]) -> list[str]:
    """Return the labels of integer bins: ``3``, ``10-14``, ``50+``."""
    labels = [
        f"{start:.0f}" if end == start + 1 else f"{start:.0f}\N{EN DASH}{end - 1:.0f}"
        for start, end in itertools.pairwise(lower)
    ]
    return [*labels, f"{lower[-1]:.0f}+"]


def share_labels(lower: Sequence[float]) -> list[str]:
    """Return the labels of bins of shares, in percent: ``< 1 %``, ``1-3 %``, ``> 30 %``."""
    percents = [f"{100 * bound:.3g}" for bound in lower]
    labels = [f"{start}\N{EN DASH}{end} %" for start, end in itertools.pairwise(percents)]
    return [f"< {percents[1]} %", *labels[1:], f"> {percents[-1]} %"]


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LABEL_CHARACTERS else line[: _LABEL_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
