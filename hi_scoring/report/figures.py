"""Plots of head scores: maps of layers and heads, curves over layers. Owns their look; equal scores, equal bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from hi_scoring.results import Head, HeadScores

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
}
_INK, _BAND, _CHANCE = "#2f5d8a", "#b9cee2", "#c0692b"
_LABELS = {
    "hi": "HI",
    "hi_soft": "soft HI",
    "hi_lift": "HI lift",
    "ram": "RAM",
    "ram_relative": "relative RAM",
    "image_mass": "attention on the picture",
    "entropy": "spatial entropy, nats",
    "pointing": "pointing accuracy",
}


def label_of(score: str) -> str:
    """What a score is called in plots and tables."""
    return _LABELS.get(score, score)


def heatmaps(scores: HeadScores, positions: str, marked: Sequence[Head]) -> bytes:
    """Draw one map of layers (down) and heads (across) for each score, the marked heads framed; PNG."""
    names = [name for name in _LABELS if (name, positions) in scores.values]
    layers, heads = scores.shape
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    side = max(2.2, min(4.5, 0.16 * max(layers, heads)))

    def draw() -> Figure:
        figure = Figure(
            figsize=(columns * (side + 0.9), rows * (side * min(1.0, layers / heads) + 1.0)), layout="constrained"
        )
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(names):
                axes.set_axis_off()
                continue
            name = names[place]
            mean = scores.mean(name, positions)
            is_signed = name == "hi_lift"
            bound = float(np.nanmax(np.abs(mean))) if np.isfinite(mean).any() else 1.0
            image = axes.imshow(
                mean,
                cmap="RdBu_r" if is_signed else "viridis",
                vmin=-bound if is_signed else None,
                vmax=bound if is_signed else None,
                interpolation="nearest",
                aspect="equal",
            )
            for head in marked:
                axes.add_patch(_frame(head))
            axes.set_title(label_of(name))
            axes.set_xlabel("head")
            axes.set_ylabel("layer")
            axes.spines[:].set_visible(False)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.yaxis.get_major_locator().set_params(integer=True)
            figure.colorbar(image, ax=axes, shrink=0.85)
        return figure

    return _png(draw)


def _frame(head: Head) -> object:
    from matplotlib.patches import Rectangle

    return Rectangle((head.head - 0.5, head.layer - 0.5), 1, 1, fill=False, edgecolor="#e8452c", linewidth=1.4)


def layer_curves(scores: HeadScores, names: Sequence[str], positions: str) -> bytes:
    """Draw the mean over each layer's heads with its 95 % interval, and chance where it is known; PNG."""

    def draw() -> Figure:
        figure = Figure(figsize=(4.3 * len(names), 2.9), layout="constrained")
        grid = figure.subplots(1, len(names), squeeze=False)
        table = scores.layers_table()
        for axes, name in zip(grid.flat, names, strict=True):
            part = table[(table["score"] == name) & (table["positions"] == positions)]
            axes.fill_between(part["layer"], part["low"], part["high"], color=_BAND, linewidth=0)
            axes.plot(part["layer"], part["mean"], color=_INK, marker="o", markersize=3.5, label="mean over heads")
            if part["chance"].notna().any():
                axes.plot(part["layer"], part["chance"], color=_CHANCE, linestyle="--", label="chance")
            axes.set_title(label_of(name))
            axes.set_xlabel("layer")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(fontsize=8)
        return figure

    return _png(draw)


def _png(draw: Callable[[], Figure]) -> bytes:
    with matplotlib.style.context(["default", _STYLE]):
        buffer = io.BytesIO()
        draw().savefig(buffer, dpi=120, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
