"""Claims of the papers, and what a model's results say of each. Owns the claims, the answers, and their grounds.

What no folder measured is "not measured"; what was measured and may be chance is "cannot be told".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hi_scoring.ablation.results import Ablations
from hi_scoring.ablation.table import verdicts as ablation_verdicts
from hi_scoring.comparison.report.conclusions import conclusions, no_conclusion
from hi_scoring.comparison.report.summary import counted
from hi_scoring.evaluation.metrics import METRICS, find_metric
from hi_scoring.interventions.knockout_results import Knockouts
from hi_scoring.joined.flows import (
    IMAGE_LAST,
    IMAGE_QUESTION,
    QUESTION_LAST,
    FlowContrast,
    FlowContrasts,
    flow_contrasts,
)
from hi_scoring.joined.folders import ResultFolder, Tuning
from hi_scoring.report.numbers import interval, number, signed
from hi_scoring.sparse.bench import Sparsity
from hi_scoring.sparse.conditions import CORE, DENSE, RANDOM
from hi_scoring.verdicts import FAILS, HOLDS, LEVEL, NOT_MEASURED, OPEN

LITTLE = 0.05
_TUNING = "Tuning the layers of the highest HI shifts the model more than tuning as many others"
_RAM = "Ablating the heads of the highest RAM hurts more than ablating random heads of the same layers"
_HI = "The same of the heads of the highest HI"
_FAST = "With the CoRe heads kept full, sparse prefill is faster at little loss"
_BETTER = "With the CoRe heads kept full it loses less than with as many random heads"
_LOWER = "The picture flows to the question in lower layers rather than in higher ones"
_THEN = "The question flows to the last position in higher layers than the picture to the question"
_LITTLE_LAST = "The picture flows to the last position less than to the question, and less than the question does"
_TUNE_PAPER = "Sergeev & Kotelnikov, arXiv 2511.23375"
_CORE_PAPER = "Sun et al., arXiv 2606.05843"
_FLOW_PAPER = "Zhang et al., arXiv 2411.18620"
_EVERY = (
    (_TUNING, _TUNE_PAPER, "datasetkit compare"),
    (_RAM, _CORE_PAPER, "datasetkit ablate --by ram:response"),
    (_HI, "ours, after both papers", "datasetkit ablate --by hi:response"),
    (_FAST, _CORE_PAPER, "datasetkit sparsify"),
    (_BETTER, _CORE_PAPER, "datasetkit sparsify"),
    (_LOWER, _FLOW_PAPER, "datasetkit knockout"),
    (_THEN, _FLOW_PAPER, "datasetkit knockout"),
    (_LITTLE_LAST, _FLOW_PAPER, "datasetkit knockout"),
)


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and what was found of it.

    Args:
        claim: in our words.
        paper: whose it is.
        answer: ``holds``, ``does not hold``, ``cannot be told`` or ``not measured``.
        why: the grounds, with their numbers.
        folder: name of the folder that they come from; blank where nothing was measured.

    """

    claim: str
    paper: str
    answer: str
    why: str
    folder: str = ""


def claims(folders: Sequence[ResultFolder]) -> list[Claim]:
    """Hold every claim against every folder that has something to say of it; each claim is told of at least once."""
    papers = {claim: paper for claim, paper, _ in _EVERY}
    found = [
        replace(one, paper=papers[one.claim], folder=folder.name) for folder in folders for one in _said_by(folder)
    ]
    rows = []
    for claim, paper, command in _EVERY:
        missing = Claim(claim, paper, NOT_MEASURED, f"No folder that was given says anything of it: `{command}` would.")
        rows += [one for one in found if one.claim == claim] or [missing]
    return rows


def _said_by(folder: ResultFolder) -> Iterator[Claim]:
    results = folder.results
    if isinstance(results, Tuning):
        yield from _of_tuning(results)
    elif isinstance(results, Ablations):
        yield from _of_ablations(results)
    elif isinstance(results, Sparsity):
        yield from _of_sparsity(results)
    elif isinstance(results, Knockouts):
        yield from _of_knockouts(results)


def _of_tuning(found: Tuning) -> Iterator[Claim]:
    concluded = conclusions(found.comparison, found.contrasts)
    for one in concluded:
        yield Claim(_TUNING, "", one.verdict.answer, one.sentence)
    if not concluded:
        yield Claim(_TUNING, "", NOT_MEASURED, no_conclusion(found.comparison))


def _of_ablations(found: Ablations) -> Iterator[Claim]:
    for verdict in ablation_verdicts(found.contrasts):
        claim = {"ram": _RAM, "hi": _HI}.get(verdict.ranking.partition(":")[0])
        if claim is None:
            continue
        samples = counted(found.facts["n"], "sample")
        rows = found.contrasts[found.contrasts["ranking"] == verdict.ranking]
        why = (
            f"Ranked by {verdict.ranking}, on {samples}: of {counted(verdict.tested, 'contrast')} with random heads "
            f"{verdict.worse:,} are significantly to the worse and {verdict.better:,} to the better (Holm)."
        )
        yield Claim(
            claim, "", verdict.answer if verdict.tested else NOT_MEASURED, f"{why}{_surest(rows, found.curves)}"
        )


def _surest(rows: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Tell the contrast of the lowest p-value; of equal ones, the one of most heads."""
    tested = rows[rows["p_holm"].notna()]
    if tested.empty:
        return ""
    row = tested.sort_values(["p_holm", "heads"], ascending=[True, False], kind="stable").iloc[0]
    place = ["ranking", "mode", "heads", "metric"]
    [lowest] = curves[(curves[place] == row[place]).all(axis=1) & (curves["rule"] == "bottom")]["shift"]
    return (
        f" The surest: {row['mode']} ablation of {counted(int(row['heads']), 'head')} changes "
        f"“{find_metric(row['metric']).label}” by {signed(row['top'])}, of random ones by {signed(row['random'])} "
        f"(difference {signed(row['difference'])}, 95 % {interval(row['low'], row['high'])}), of the "
        f"lowest by {signed(lowest)}."
    )


def _of_sparsity(found: Sparsity) -> Iterator[Claim]:
    [costs] = found.costs[found.costs["group"] == CORE].to_dict("records")
    if not costs["sparse"] > 0:
        why = "All prompts stayed dense: they are too short, or of too much text, for anything to be saved."
        yield from (Claim(claim, "", NOT_MEASURED, why) for claim in (_FAST, _BETTER))
        return
    losses = _losses(found.quality)
    yield _fast(costs, losses)
    if RANDOM in found.groups:
        yield _better(found.quality)


def _losses(quality: pd.DataFrame) -> pd.DataFrame:
    """Give the loss from dense of each metric, as a share of what the dense model has to lose.

    Returns:
        columns metric, loss, low, high; of what is better when lower, that is what is missing to 1.

    """
    shown = quality[quality["metric"].isin(list(METRICS))]
    before = shown[shown["group"] == DENSE].set_index("metric")["figure"]
    rows = []
    for row in shown[(shown["group"] == CORE) & (shown["against"] == DENSE)].to_dict("records"):
        is_higher = find_metric(row["metric"]).higher_is_better
        whole = before[row["metric"]] if is_higher else 1 - before[row["metric"]]
        if whole > 0 and np.isfinite(row["low"]):
            low, high = (-row["high"], -row["low"]) if is_higher else (row["low"], row["high"])
            loss = -row["change"] if is_higher else row["change"]
            rows.append({"metric": row["metric"], "loss": loss / whole, "low": low / whole, "high": high / whole})
    return pd.DataFrame(rows, columns=["metric", "loss", "low", "high"])


def _fast(costs: Mapping[Hashable, Any], losses: pd.DataFrame) -> Claim:
    speed = (
        f"{costs['speedup']:.2f} times as fast to the first token (median of {counted(int(costs['n']), 'prompt')}; "
        f"quartiles {costs['speedup_q25']:.2f} to {costs['speedup_q75']:.2f})"
    )
    if losses.empty:
        return Claim(_FAST, "", OPEN, f"It is {speed}; no metric of quality tells a loss.")
    worst = max(losses.to_dict("records"), key=lambda row: row["high"])
    why = (
        f"It is {speed}. The loss that could be largest is of “{find_metric(worst['metric']).label}”: "
        f"{number(worst['loss'])} of the dense model's (95 % {interval(worst['low'], worst['high'])}); little is up to "
        f"{LITTLE}."
    )
    answer = OPEN
    if costs["speedup_q75"] < 1 or (losses["low"] > LITTLE).any():
        answer = FAILS
    elif costs["speedup_q25"] > 1 and (losses["high"] <= LITTLE).all():
        answer = HOLDS
    return Claim(_FAST, "", answer, why)


def _better(quality: pd.DataFrame) -> Claim:
    rows = quality[(quality["group"] == CORE) & (quality["against"] == RANDOM) & quality["p_holm"].notna()]
    sure = rows["p_holm"] < LEVEL
    is_gain = np.array([find_metric(name).higher_is_better for name in rows["metric"]]) == (rows["change"] > 0)
    better, worse = rows[sure & is_gain]["metric"], rows[sure & ~is_gain]["metric"]
    answer = OPEN
    if len(worse) and len(worse) >= len(better):
        answer = FAILS
    elif len(better) and not len(worse):
        answer = HOLDS
    changes = ", ".join(
        f"{find_metric(row['metric']).label} {signed(row['change'])}" for row in rows.to_dict("records")
    )
    why = (
        f"Of {counted(len(rows), 'metric')}, {len(better)} are significantly better than with random heads and "
        f"{len(worse)} worse (Holm): {changes or 'nothing was tested'}."
    )
    return Claim(_BETTER, "", answer if len(rows) else NOT_MEASURED, why)


def _of_knockouts(found: Knockouts) -> Iterator[Claim]:
    measured = flow_contrasts(found)
    if measured is None:
        needed = ", ".join((IMAGE_QUESTION, IMAGE_LAST, QUESTION_LAST))
        why = f"It takes the flows {needed} blocked in the same questions, by windows that differ."
        yield from (Claim(claim, "", NOT_MEASURED, why) for claim in (_LOWER, _THEN, _LITTLE_LAST))
        return
    yield _lower(measured)
    yield _later(measured)
    yield _little_last(measured)


def _lower(measured: FlowContrasts) -> Claim:
    control = "" if measured.has_control else " Random edges are no control here: most are the flow's own."
    why = (
        "Blocked in the lower half of the layers, it costs the answer's probability "
        f"{_percent(measured.lower)} points of percent more than in the upper half, on {_questions(measured)}.{control}"
    )
    return Claim(_LOWER, "", _answer(measured.lower), why)


def _later(measured: FlowContrasts) -> Claim:
    one, (first, _, second) = measured.later, measured.peaks
    why = (
        f"Blocked, the picture to the question costs most around layer {first}, the question to the last position "
        f"around layer {second}: {one.value:+.0f} layers (95 % {one.low:+.0f} to {one.high:+.0f}), on "
        f"{_questions(measured)}."
    )
    # Where both surely cost most around the same layer, neither comes after the other.
    return Claim(_THEN, "", FAILS if one.high <= 0 else _answer(one), why)


def _little_last(measured: FlowContrasts) -> Claim:
    first, second = measured.less_than_to_question, measured.less_than_of_question
    to_question, to_last, of_question = measured.largest
    answers = {_answer(first), _answer(second)}
    answer = FAILS if FAILS in answers else HOLDS if answers == {HOLDS} else OPEN
    why = (
        f"Blocked around the layer where it costs most, it costs {to_last:.1f} points of percent; the picture to the "
        f"question costs {to_question:.1f}, a difference of {_percent(first)}; the question to the last position "
        f"{of_question:.1f}, a difference of {_percent(second)}; on {_questions(measured)}."
    )
    return Claim(_LITTLE_LAST, "", answer, why)


def _questions(measured: FlowContrasts) -> str:
    return counted(measured.questions, "question")


def _answer(one: FlowContrast) -> str:
    """Tell on which side of 0 the interval lies; above it, the claim holds."""
    return HOLDS if one.low > 0 else FAILS if one.high < 0 else OPEN


def _percent(one: FlowContrast) -> str:
    return f"{one.value:z.1f} (95 % {one.low:z.1f} to {one.high:z.1f})"
