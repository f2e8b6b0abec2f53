"""Plots of head scores: maps of layers and heads, layer curves. Owns their style; equal scores give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from datasetkit.hi_scoring.report.plots import BAND, CONTRARY, INK, UNDEFINED, WIDTH_IN, panels, png, ticks
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.statistics import FloatArray

_LABELS = {
    "hi": "HI",
    "hi_soft": "soft HI",
    "hi_lift": "HI lift",
    "ram": "RAM",
    "ram_relative": "relative RAM",
    "image_mass": "attention on the image",
    "entropy": "spatial entropy, nats",
    "pointing": "pointing accuracy",
}
# All other scores are at least 0.
_SIGNED = ("hi_lift",)


def label_of(score: str) -> str:
    """Return the name of a score in plots and tables."""
    return _LABELS.get(score, score)


def heatmaps(scores: HeadScores, positions: str, marked: Sequence[Head]) -> bytes:
    """Draw one map of layers (down) and heads (across) for each score, the marked heads framed; PNG."""
    names = [name for name in scores.options.score_names if (name, positions) in scores.values]
    layers, heads = scores.shape
    abreast = 4 if heads <= 16 else 3 if heads <= 32 else 2
    width = WIDTH_IN / abreast
    height = (width - 1.2) * layers / heads + 0.9

    def draw() -> Figure:
        figure, grid = panels(len(names), abreast, min(abreast, len(names)) * width, height, w_pad=0.1)
        for axes, name in zip(grid, names, strict=True):
            image = _map(axes, scores.mean(name, positions), is_signed=name in _SIGNED)
            # Black within white is visible on every colour.
            for head, (colour, line) in product(marked, (("white", 2.6), ("black", 1.2))):
                place = (head.head - 0.5, head.layer - 0.5)
                axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=colour, linewidth=line))
            axes.set_title(label_of(name))
            figure.colorbar(image, ax=axes, fraction=0.06, pad=0.03)
        return figure

    return png(draw)


def _map(axes: Axes, values: FloatArray, *, is_signed: bool) -> AxesImage:
    bound = float(np.nanmax(np.abs(values))) if is_signed and np.isfinite(values).any() else None
    image = axes.imshow(
        values,
        cmap=colormaps["RdBu_r" if is_signed else "viridis"].with_extremes(bad=UNDEFINED),
        vmin=None if bound is None else -bound,
        vmax=bound,
        interpolation="nearest",
        aspect="auto",
    )
    layers, heads = values.shape
    axes.set_xlabel("head")
    axes.set_xticks(ticks(heads))
    axes.set_ylabel("layer")
    axes.set_yticks(ticks(layers))
    axes.spines[:].set_visible(False)
    return image


def layer_curves(scores: HeadScores, names: Sequence[str], positions: str) -> bytes:
    """Draw the mean over each layer's heads with its 95 % interval, and chance where it is known; PNG."""
    table = scores.layers_table()

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH_IN / 3 * len(names), 3.2), layout="constrained")
        grid = figure.subplots(1, len(names), squeeze=False)
        legend: dict[str, Any] = {}
        for axes, name in zip(grid.flat, names, strict=True):
            part = table[(table["score"] == name) & (table["positions"] == positions)]
            axes.fill_between(
                part["layer"], part["low"], part["high"], color=BAND, linewidth=0, label="95 % interval over samples"
            )
            axes.plot(part["layer"], part["mean"], color=INK, marker="o", markersize=3.5, label="mean over heads")
            if part["chance"].notna().any():
                axes.plot(part["layer"], part["chance"], color=CONTRARY, linestyle="--", label="chance")
            axes.set_title(f"{label_of(name)}, {positions}")
            axes.set_xlabel("layer")
            axes.set_xticks(ticks(scores.shape[0]))
            axes.set_ylabel(label_of(name))
            if name not in _SIGNED:
                axes.set_ylim(bottom=0)
            legend |= {str(label): handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(legend.values(), legend.keys(), loc="outside lower left", ncols=1 if len(names) == 1 else 3)
        return figure

    return png(draw)
