"""Costs and quality of sparse prefill as tables in the terminal. Owns their columns; all numbers are in the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from hi_scoring.evaluation.metrics import METRICS, find_metric
from hi_scoring.report.numbers import NOT_MEASURED, interval, number, p_value, percent, signed
from hi_scoring.sparse.bench import Sparsity
from hi_scoring.sparse.conditions import CORE
from hi_scoring.sparse.coverage import DenseReason

_MIB = 2**20


def sparsity_tables(found: Sparsity) -> Iterator[Table]:
    """Give the tables that ``datasetkit sparsify`` ends with: costs, what the model says, and what stayed dense."""
    yield _costs(found)
    yield _quality(found)
    dense: Counter[str] = Counter()
    for result in found.groups[CORE]:
        dense.update(result.coverage["dense"])
    if dense:
        yield _dense(dense, sum(result.coverage["sparse"] for result in found.groups[CORE]))


def _costs(found: Sparsity) -> Table:
    first = found.costs.iloc[0]
    table = _table(f"first token of {first['n']:,} prompts of {first['tokens']:,.0f} tokens (median)")
    table.caption = "times as fast: median and quartiles of the ratios of the same prompt, dense and sparse in turns"
    table.add_column("")
    for name in ("seconds", "times as fast", "MiB", "of dense", "KL", "same token", "sparse"):
        table.add_column(name, justify="right")
    for row in found.costs.to_dict("records"):
        table.add_row(
            _named(row["group"], row["runs"]),
            number(row["seconds"]),
            f"{row['speedup']:.2f} ({row['speedup_q25']:.2f} to {row['speedup_q75']:.2f})",
            f"{row['peak'] / _MIB:,.0f}" if np.isfinite(row["peak"]) else NOT_MEASURED,
            f"{row['memory']:.2f}" if np.isfinite(row["memory"]) else NOT_MEASURED,
            number(row["kl"]),
            percent(row["same_token"]),
            percent(row["sparse"]) if np.isfinite(row["sparse"]) else NOT_MEASURED,
        )
    return table


def _quality(found: Sparsity) -> Table:
    table = _table("what the model says")
    for name in ("metric", "kept heads"):
        table.add_column(name)
    for name in ("figure", "change from", "change", "95 %", "p (Holm)"):
        table.add_column(name, justify="right")
    shown = found.quality[found.quality["metric"].isin(list(METRICS))]
    for metric, rows in shown.groupby("metric", sort=False):
        for number_of_row, row in enumerate(rows.to_dict("records")):
            is_itself = row["group"] == row["against"]
            table.add_row(
                "" if number_of_row else find_metric(str(metric)).label,
                _named(row["group"], row["runs"]),
                number(row["figure"]),
                *(("", "", "", "") if is_itself else (row["against"], signed(row["change"]))),
                *(() if is_itself else (interval(row["low"], row["high"]), p_value(row["p_holm"]))),
            )
    return table


def _dense(dense: Counter[str], sparse: int) -> Table:
    table = _table(f"layers of prompts that stayed dense, of {sparse + dense.total():,}")
    table.add_column("count", justify="right")
    table.add_column("why")
    for reason, count in dense.most_common():
        table.add_row(f"{count:,}", DenseReason(reason).explanation)
    return table


def _named(group: str, runs: int) -> str:
    return group if runs == 1 else f"{group} ({runs})"


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
