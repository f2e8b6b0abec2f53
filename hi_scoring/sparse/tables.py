"""What conditions say, in numbers. Owns which changes are estimated, and how many tests they count as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hi_scoring.evaluation.metrics import METRICS
from hi_scoring.evaluation.shifts import Cell, Estimate, contrast, shift
from hi_scoring.sparse.conditions import CORE, DENSE, RANDOM
from hi_scoring.sparse.results import ConditionResult
from hi_scoring.statistics import bootstrap_interval, holm, nanmean

Groups = Mapping[str, Sequence[ConditionResult]]
_QUARTILES = (0.25, 0.75)


def costs_table(groups: Groups) -> pd.DataFrame:
    """One row for each group: what a first token costs, and how far it is from the dense model's.

    Returns:
        columns group; runs, n (prompts); tokens (median of a prompt); seconds_dense and seconds (medians), speedup
        (median of the prompts' ratios) with speedup_q25 and speedup_q75 (quartiles); peak_dense and peak (medians,
        bytes), memory (median of the prompts' ratios); kl (mean, nats) with kl_low and kl_high (95 %), same_token
        (share of prompts) with same_low and same_high; sparse (share of pairs of prompt and layer that were not
        dense). The dense group was set beside itself: its speedup tells how much times vary.

    """
    return pd.DataFrame([_costs(group, results) for group, results in groups.items()])


def quality_table(groups: Groups) -> pd.DataFrame:
    """One row for each metric, group and what it is held against.

    Returns:
        columns metric, group, against (``dense``, or ``random`` for the CoRe heads); runs, n (samples with a value);
        figure (mean over runs), change from what it is held against with low, high (95 %), p and p_holm, corrected for
        all rows of metrics in ``METRICS`` (that of ``accuracy:TYPE`` rows is NaN: they explain, they are not tested).
        The dense group's row has no change.

    """
    table = pd.DataFrame(list(_quality(groups)))
    is_test = table["p"].notna() & table["metric"].isin(list(METRICS))
    corrected = np.full(len(table), np.nan)
    corrected[is_test] = holm(table.loc[is_test, "p"].to_numpy(float))
    return table.assign(p_holm=corrected)


def _costs(group: str, results: Sequence[ConditionResult]) -> dict[str, Any]:
    table = pd.concat([result.prefills for result in results], ignore_index=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        speedup = table["seconds_dense"] / table["seconds"]
        # Of two needs that are too small to be seen, there is no ratio.
        memory = (table["peak"] / table["peak_dense"]).where(table["peak_dense"] > 0)
    low, high = (speedup.quantile(share) for share in _QUARTILES)
    sparse = sum(result.coverage["sparse"] for result in results)
    pairs = sparse + sum(sum(result.coverage["dense"].values()) for result in results)
    return {
        "group": group,
        "runs": len(results),
        "n": len(results[0].prefills),
        "tokens": table["tokens"].median(),
        "seconds_dense": table["seconds_dense"].median(),
        "seconds": table["seconds"].median(),
        "speedup": speedup.median(),
        "speedup_q25": low,
        "speedup_q75": high,
        "peak_dense": table["peak_dense"].median(),
        "peak": table["peak"].median(),
        "memory": memory.median(),
        **_mean(table, "kl", "kl"),
        **_mean(table, "same_token", "same"),
        "sparse": sparse / pairs if pairs else np.nan,
    }


def _mean(table: pd.DataFrame, name: str, short: str) -> dict[str, float]:
    """Mean over prompts and runs; the interval is over records, whose prompts belong together."""
    by_record = table.groupby("record_id", sort=False)[name].mean().to_numpy(float)[:, None]
    low, high = bootstrap_interval(by_record)
    return {name: float(nanmean(by_record)[0]), f"{short}_low": float(low[0]), f"{short}_high": float(high[0])}


def _quality(groups: Groups) -> Iterator[dict[str, Any]]:
    [dense] = groups[DENSE]
    cells = {
        group: Cell(dense.measured, [result.measured for result in results])
        for group, results in groups.items()
        if group != DENSE
    }
    there = dense.measured.statistics
    for metric in [name for name in METRICS if name in there] + sorted(name for name in there if name not in METRICS):
        nothing = Estimate(np.nan, np.nan, np.nan, np.nan)
        yield _row(metric, DENSE, DENSE, groups[DENSE], nothing)
        for group, cell in cells.items():
            yield _row(metric, group, DENSE, groups[group], shift(metric, cell))
        if {CORE, RANDOM} <= cells.keys():
            yield _row(metric, CORE, RANDOM, groups[CORE], contrast(metric, cells[CORE], cells[RANDOM]))


def _row(
    metric: str, group: str, against: str, results: Sequence[ConditionResult], estimate: Estimate
) -> dict[str, Any]:
    return {
        "metric": metric,
        "group": group,
        "against": against,
        "runs": len(results),
        "n": min(result.measured.n(metric) for result in results),
        "figure": float(np.mean([result.measured.figure(metric) for result in results])),
        "change": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "p": estimate.p_value,
    }
