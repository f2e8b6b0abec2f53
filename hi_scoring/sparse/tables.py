"""Numbers of conditions. Owns which changes are estimated, and how many tests they count as.

The CoRe heads count as better than random ones only if two conditions hold: they are outside the spread of random sets,
as if they were not one of them, and their difference exceeds the noise of samples. Heads differ, so every set differs
from the mean of other sets, however it was chosen. The p-value of both at once is the larger one (an intersection-union
test; Berger, "Multiparameter Hypothesis Testing and Acceptance Sampling", 1982).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from datasetkit.hi_scoring.evaluation.metrics import METRICS
from datasetkit.hi_scoring.evaluation.shifts import Cell, Estimate, contrast, shift
from datasetkit.hi_scoring.sparse.conditions import CORE, DENSE, RANDOM
from datasetkit.hi_scoring.sparse.estimates import loss, median, median_above
from datasetkit.hi_scoring.sparse.memory import UNSEEN_BYTES
from datasetkit.hi_scoring.sparse.results import ConditionResult
from datasetkit.hi_scoring.statistics import Interval, bootstrap_interval, holm, nanmean, p_as_drawn

Groups = Mapping[str, Sequence[ConditionResult]]
_QUARTILES = (0.25, 0.75)
_NOTHING = Interval(np.nan, np.nan, np.nan)


def costs_table(groups: Groups) -> pd.DataFrame:
    """Return one row for each group: the cost of a first token, and its difference from the dense model's.

    Returns:
        columns group; runs, n (prompts), measured and lost (prompts for which memory sufficed in all runs, and the
        others); tokens (median of a prompt); seconds_dense and seconds (medians), speedup (median of the prompts'
        ratios) with speedup_low and speedup_high (95 %), speedup_q25 and speedup_q75 (quartiles); peak_dense and peak
        (medians, bytes), memory (median of the prompts' ratios), each NaN if it depends on amounts too small to be
        measured; kl (mean, nats) with kl_low and kl_high (95 %), same_token (share of prompts) with same_low and
        same_high; sparse (share of pairs of prompt and layer that were not dense). The dense group is compared with
        itself: its speedup shows how much times vary. Statistics over prompts leave out the lost ones.

    """
    return pd.DataFrame([_costs(group, results) for group, results in groups.items()])


def quality_table(groups: Groups) -> pd.DataFrame:
    """Return one row for each metric, group and reference.

    Returns:
        columns metric, group, against (``dense``, or ``random`` for the CoRe heads); runs, n (samples with a value);
        figure (mean over runs), change from the reference with low, high (95 %) and p. For the CoRe heads against
        ``dense``: loss, relative to the dense model, with loss_low and loss_high, each a 95 % bound, see
        :func:`datasetkit.hi_scoring.sparse.estimates.loss`. For the CoRe heads against ``random``: p_sets, the p-value
        of their being one more random set, see :func:`datasetkit.hi_scoring.statistics.p_as_drawn`. p_holm, from p or,
        if there are random sets, from the larger of p and p_sets, corrected for all rows of metrics in ``METRICS``; NaN
        for ``accuracy:TYPE``, which is shown but not tested, and with fewer than two random sets. The dense group's row
        has no change.

    """
    table = pd.DataFrame(list(_quality(groups)))
    of_sets = (table["group"] == CORE) & (table["against"] == RANDOM)
    tested = table["p"].where(~of_sets, table[["p", "p_sets"]].max(axis=1, skipna=False))
    is_test = tested.notna() & table["metric"].isin(list(METRICS))
    corrected = np.full(len(table), np.nan)
    corrected[is_test] = holm(tested[is_test].to_numpy(float))
    return table.assign(p_holm=corrected)


def _costs(group: str, results: Sequence[ConditionResult]) -> dict[str, Any]:
    is_lost = np.any([result.prefills["tokens"].isna() for result in results], axis=0)
    table = pd.concat([result.prefills for result in results], ignore_index=True)
    table = table[table["tokens"].notna()]
    ratio = table["seconds_dense"] / table["seconds"]
    speedup = median(ratio.to_numpy(float), table["picture_id"].tolist())
    low, high = (ratio.quantile(share) for share in _QUARTILES)
    sparse = sum(result.coverage["sparse"] for result in results)
    pairs = sparse + sum(sum(result.coverage["dense"].values()) for result in results)
    return {
        "group": group,
        "runs": len(results),
        "n": len(is_lost),
        "measured": int((~is_lost).sum()),
        "lost": int(is_lost.sum()),
        "tokens": table["tokens"].median(),
        "seconds_dense": table["seconds_dense"].median(),
        "seconds": table["seconds"].median(),
        "speedup": speedup.value,
        "speedup_low": speedup.low,
        "speedup_high": speedup.high,
        "speedup_q25": low,
        "speedup_q75": high,
        **_memory(table),
        **_mean(table, "kl", "kl"),
        **_mean(table, "same_token", "same"),
        "sparse": sparse / pairs if pairs else np.nan,
    }


def _memory(table: pd.DataFrame) -> dict[str, float]:
    """Return medians of memory, and of its ratio if the dense model's memory is measurable in most prompts."""
    dense, peak = (table[name].to_numpy(float) for name in ("peak_dense", "peak"))
    if np.isnan([dense, peak]).all():
        return dict.fromkeys(("peak_dense", "peak", "memory"), np.nan)
    unseen = np.full(len(table), float(UNSEEN_BYTES))
    # Zero memory cannot be compared, either.
    seen = dense > 0
    is_told = seen.sum() > len(seen) / 2
    return {
        "peak_dense": median_above(dense, unseen),
        "peak": median_above(peak, unseen),
        "memory": median_above(peak[seen] / dense[seen], unseen[seen] / dense[seen]) if is_told else np.nan,
    }


def _mean(table: pd.DataFrame, name: str, short: str) -> dict[str, float]:
    """Return the mean over prompts and runs; the interval is over images, whose prompts belong together."""
    by_image = table.groupby("picture_id", sort=False)[name].mean().to_numpy(float)[:, None]
    low, high = bootstrap_interval(by_image)
    return {name: float(nanmean(by_image)[0]), f"{short}_low": float(low[0]), f"{short}_high": float(high[0])}


def _quality(groups: Groups) -> Iterator[dict[str, Any]]:
    [dense] = groups[DENSE]
    [core] = groups[CORE]
    cells = {
        group: Cell(dense.measured, [result.measured for result in results])
        for group, results in groups.items()
        if group != DENSE
    }
    for metric in dense.measured.metrics:
        nothing = Estimate(np.nan, np.nan, np.nan, np.nan)
        yield _row(metric, DENSE, DENSE, groups[DENSE], nothing)
        for group, cell in cells.items():
            lost = loss(metric, dense.measured, core.measured) if group == CORE else _NOTHING
            yield _row(metric, group, DENSE, groups[group], shift(metric, cell), lost)
        if RANDOM in cells:
            estimate = contrast(metric, cells[CORE], cells[RANDOM])
            p_sets = p_as_drawn(cells[CORE].shift(metric), cells[RANDOM].shifts(metric))
            yield _row(metric, CORE, RANDOM, groups[CORE], estimate, p_sets=p_sets)


def _row(
    metric: str,
    group: str,
    against: str,
    results: Sequence[ConditionResult],
    estimate: Estimate,
    lost: Interval = _NOTHING,
    p_sets: float = np.nan,
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
        "loss": lost.value,
        "loss_low": lost.low,
        "loss_high": lost.high,
        "p_sets": p_sets,
    }
