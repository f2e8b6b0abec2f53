"""Style of plots. Owns their colours and fonts, and that equal plots give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, BAND, CONTRARY, UNDEFINED = "#2f5d8a", "#b9cee2", "#c0692b", "#c4c4c4"
WIDTH_IN = 11.0
_MOST_TICKS = 8
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


def png(draw: Callable[[], Figure]) -> bytes:
    """Return a figure as PNG in our style; equal figures give equal bytes."""
    with matplotlib.style.context(["default", _STYLE]):
        buffer = io.BytesIO()
        draw().savefig(buffer, dpi=120, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def ticks(count: int) -> range:
    """Return which of several items numbered from 0, such as layers, get a tick label on an axis."""
    return range(0, count, -(-count // _MOST_TICKS))


def panels(
    count: int, abreast: int, width: float, height: float, more: float = 0, *, w_pad: float = 0.08, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels, at most ``abreast`` per row.

    Sizes are in inches: the figure's width, the height of a row, and the height in addition to the rows.
    """
    columns = min(abreast, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width, rows * height + more))
    figure.set_layout_engine("constrained", w_pad=w_pad, h_pad=0.08)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]
