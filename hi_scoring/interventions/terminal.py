"""Knockouts as tables in the terminal. Owns their columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from rich.table import Table

from hi_scoring.interventions.knockout_results import Knockouts
from hi_scoring.interventions.knockout_tables import ALL
from hi_scoring.interventions.tracking import TRACKED
from hi_scoring.report.tables import plain_table

_NOT_MEASURED = "-"


def knockout_tables(found: Knockouts) -> Iterator[Table]:
    """Give the tables that ``datasetkit knockout`` ends with: what each flow costs, and where the answer appears."""
    yield _flows(found)
    yield _tracking(found)


def _flows(found: Knockouts) -> Table:
    """Each flow at the layer where blocking it costs most."""
    table = plain_table(
        "change of the answer's probability, %, where each flow matters most", "\n".join(_notes(found)), gap=0
    )
    table.add_column("flow", no_wrap=True)
    for name in ("n", "layer", "change", "95 %", "control"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in _largest_drops(found.tables.curves).to_dict("records"):
        control = f"{_percent(row['control'])}{'*' if row['overlap'] else ''}"
        table.add_row(
            row["flow"],
            f"{row['n']:,}",
            str(row["layer"]),
            _percent(row["change"]),
            _interval(row["change_low"], row["change_high"]),
            control,
        )
    return table


def _notes(found: Knockouts) -> Iterator[str]:
    flows, blocked = found.facts["counts"]["flows"].values(), found.facts["counts"]["blocked"]
    if any(flow["overlapping"] for flow in flows):
        yield "* where queries see too few other keys, some of the random edges are the flow's own"
    if any(flow["without"] for flow in flows):
        yield f"n below {blocked:,}: the other questions lack such tokens"


def _largest_drops(curves: pd.DataFrame) -> pd.DataFrame:
    """Rows of the layer of the largest drop, all categories together, the largest drop first."""
    every = curves[curves["category"] == ALL]
    return every.loc[every.groupby("flow", sort=False)["change"].idxmin()].sort_values("change", kind="stable")


def _tracking(found: Knockouts) -> Table:
    curves = found.tables.tracking_curves
    every = curves[curves["category"] == ALL].set_index(["layer", "token"])["p"]
    table = plain_table("probability of the answer's first token after each layer")
    table.add_column("after layer", justify="right")
    for name in TRACKED:
        table.add_column(name, justify="right")
    for layer in sorted(set(curves["layer"])):
        cells = (every.get((layer, name), np.nan) for name in TRACKED)
        table.add_row(str(layer - 1) if layer else "none", *(_probability(value) for value in cells))
    return table


def _percent(value: float) -> str:
    return f"{value:+.1f}" if np.isfinite(value) else _NOT_MEASURED


def _interval(low: float, high: float) -> str:
    return f"{low:+.1f} to {high:+.1f}" if np.isfinite(low) else _NOT_MEASURED


def _probability(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else _NOT_MEASURED
