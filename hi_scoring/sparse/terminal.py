"""Costs and quality of sparse prefill as tables in the terminal. Owns their columns; all numbers are in the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
from rich.table import Table

from datasetkit.hi_scoring.evaluation.metrics import METRICS, find_metric
from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.report.text import NOT_MEASURED, interval, number, p_value, percent, signed, written
from datasetkit.hi_scoring.sparse.conditions import CORE
from datasetkit.hi_scoring.sparse.coverage import DenseReason
from datasetkit.hi_scoring.sparse.folder import Sparsity

_MIB = 2**20


def sparsity_tables(found: Sparsity) -> Iterator[Table]:
    """Give the tables that ``datasetkit sparsify`` ends with: costs, what the model says, and what stayed dense."""
    yield _costs(found)
    yield _quality(found)
    if found.dense_by_reason:
        yield _dense(found.dense_by_reason, sum(result.coverage["sparse"] for result in found.groups[CORE]))


def _costs(found: Sparsity) -> Table:
    first, rows = found.costs.iloc[0], found.costs.to_dict("records")
    lost = ", ".join(f"{row['group']} {row['lost']:,}" for row in rows if row["lost"])
    left_out = f"; prompts left out, for which memory ran out: {lost}" if lost else ""
    table = plain_table(
        f"first token of {first['n']:,} prompts of {first['tokens']:,.0f} tokens (median)",
        "times as fast: median of ratios of a prompt dense and sparse, in turns, 95 %; KL from dense, nats; same: "
        f"prompts with the same first token; sparse: layers of prompts{left_out}",
    )
    table.add_column("")
    for name in ("seconds", "times as fast", "MiB", "of dense", "KL", "same", "sparse"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _named(row["group"], row["runs"]),
            number(row["seconds"]),
            _speedup(row),
            written(row["peak"] / _MIB, ",.0f"),
            written(row["memory"], ".2f"),
            number(row["kl"]),
            *(percent(row[name]) if np.isfinite(row[name]) else NOT_MEASURED for name in ("same_token", "sparse")),
        )
    return table


def _speedup(row: Mapping[Hashable, Any]) -> str:
    value = written(row["speedup"], ".2f")
    if not np.isfinite(row["speedup_low"]):
        return value
    return f"{value} ({interval(row['speedup_low'], row['speedup_high'], '.2f')})"


def _quality(found: Sparsity) -> Table:
    table = plain_table(
        "what the model says",
        "p corrected by Holm; against random, both beyond the noise of samples and beyond the spread of random sets",
    )
    table.add_column("")
    for name in ("kept", "figure", "against", "change", "95 %", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = found.quality[found.quality["metric"].isin(list(METRICS))]
    for metric, rows in shown.groupby("metric", sort=False):
        label = find_metric(str(metric)).label
        for row in rows.to_dict("records"):
            cells = [label, _named(row["group"], row["runs"]), number(row["figure"])]
            if row["group"] != row["against"]:
                change = signed(row["change"])
                cells += [row["against"], change, interval(row["low"], row["high"]), p_value(row["p_holm"])]
            table.add_row(*cells)
            label = ""
    return table


def _dense(dense: Counter[str], sparse: int) -> Table:
    table = plain_table(f"layers of prompts that stayed dense, of {sparse + dense.total():,}")
    table.add_column("count", justify="right")
    table.add_column("why")
    for reason, count in dense.most_common():
        table.add_row(f"{count:,}", DenseReason(reason).explanation)
    return table


def _named(group: str, runs: int) -> str:
    return group if runs == 1 else f"{group} ({runs})"
