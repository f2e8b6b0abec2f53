"""Knockouts as tables in the terminal. Owns their columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.interventions.knockout_tables import ALL
from datasetkit.hi_scoring.interventions.tracking import TRACKED
from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.report.text import interval, number, percent, written

_PERCENT = "+.1f"


def knockout_tables(found: Knockouts) -> Iterator[Table]:
    """Give the tables that ``datasetkit knockout`` ends with: what each flow costs, and where the answer appears."""
    yield _flows(found)
    yield _tracking(found)


def _flows(found: Knockouts) -> Table:
    """Each flow around the layer where blocking it costs most; below it, where it costs most beyond its control."""
    curves = found.tables.curves
    every = curves[curves["category"] == ALL]
    table = plain_table(
        "largest falls of the answer's probability, %",
        "\n".join(_notes(found, every)),
        gap=0,
    )
    table.add_column("flow", no_wrap=True)
    for name in ("n", "layer", "change", "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    beyond = _lowest(every, "difference")
    for flow, row in _lowest(every, "change").items():
        table.add_row(flow, *_cells(row, "n", "change"))
        if flow in beyond:
            mark = "*" if found.facts["counts"]["flows"][flow]["overlapping"] else ""
            table.add_row(f"  beyond random edges{mark}", *_cells(beyond[flow], "n_control", "difference"))
    return table


def _lowest(curves: pd.DataFrame, measure: str) -> dict[str, Mapping[Hashable, Any]]:
    """Give the row of the layer where each flow's measure is least, the least first; none of a flow without it."""
    there = curves[curves[measure].notna()]
    rows = there.loc[there.groupby("flow", sort=False)[measure].idxmin()].sort_values(measure, kind="stable")
    return {row["flow"]: row for row in rows.to_dict("records")}


def _cells(row: Mapping[Hashable, Any], count: str, measure: str) -> tuple[str, str, str, str]:
    """Say how many questions, which layer, the measure and its band."""
    ends = interval(row[f"{measure}_band_low"], row[f"{measure}_band_high"], _PERCENT)
    return f"{row[count]:,}", str(row["layer"]), written(row[measure], _PERCENT), ends


def _notes(found: Knockouts, curves: pd.DataFrame) -> Iterator[str]:
    counts = found.facts["counts"]
    flows = {name: flow for name, flow in counts["flows"].items() if flow["n"]}
    overlap = curves.groupby("flow")["overlap"].first()
    yield "95 %: simultaneous over layers (bootstrap of pictures), so it holds for the layer that was picked"
    if any(flow["overlapping"] for flow in flows.values()):
        yield "* queries see too few other keys: some of the random edges are the flow's own"
    if none := [f"{name} ({percent(overlap[name])})" for name, flow in flows.items() if not flow["controlled"]]:
        yield f"no control: as many random edges would be mostly the flow's own: {', '.join(none)}"
    if any(0 < flow["controlled"] < flow["n"] for flow in flows.values()):
        yield "n of random edges below their flow's: in the other questions they would be mostly the flow's own"
    if any(flow["without"] for flow in flows.values()):
        yield f"n of a flow below {counts['blocked']:,}: the other questions lack such tokens"
    if lacking := [name for name in counts["flows"] if name not in flows]:
        yield (
            f"left out, as no question has such tokens: {', '.join(lacking)} (key objects are those that a question "
            "names by object_ids or boxes)"
        )


def _tracking(found: Knockouts) -> Table:
    curves = found.tables.tracking_curves
    every = curves[curves["category"] == ALL].set_index(["layer", "token"])["p"]
    table = plain_table("probability of the answer's first token after each layer")
    table.add_column("after layer", justify="right")
    for name in TRACKED:
        table.add_column(name, justify="right")
    for layer in sorted(set(curves["layer"])):
        cells = (every.get((layer, name), np.nan) for name in TRACKED)
        table.add_row(str(layer - 1) if layer else "none", *(number(value) for value in cells))
    return table
