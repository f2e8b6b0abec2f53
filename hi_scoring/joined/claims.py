"""Check each claim of the papers against a model's results. Owns the answers and their reasons.

A claim is about heads or layers chosen by a certain score; results for other scores do not test it. A claim that no
folder tested is "not measured"; a claim whose results may be chance, or point both ways, is "cannot be told".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from datasetkit.core.text import counted
from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.ablation.table import verdicts as ablation_verdicts
from datasetkit.hi_scoring.comparison.report.conclusions import conclusions, no_conclusion
from datasetkit.hi_scoring.comparison.report.terminal import ComparisonResult
from datasetkit.hi_scoring.evaluation.metrics import find_metric
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.joined.flows import (
    IMAGE_LAST,
    IMAGE_QUESTION,
    QUESTION_LAST,
    FlowContrasts,
    flow_contrasts,
)
from datasetkit.hi_scoring.joined.folders import ResultFolder
from datasetkit.hi_scoring.joined.papers import BETTER, FAST, HELD, HI, LITTLE, LITTLE_LAST, LOWER, RAM, THEN, TUNING
from datasetkit.hi_scoring.report.text import interval, number, percent, signed
from datasetkit.hi_scoring.sparse.conditions import CORE, DENSE, RANDOM
from datasetkit.hi_scoring.sparse.coverage import DenseReason
from datasetkit.hi_scoring.sparse.folder import Sparsity
from datasetkit.hi_scoring.statistics import FAILS, HOLDS, LEVEL, NOT_MEASURED, OPEN, Interval, answer_of

# Metrics that losses are judged by, named beforehand: of many metrics, one loses by chance.
_JUDGED = ("accuracy", "cider")
# Share of the work that must have been sparse for a test of the claim.
_ENOUGH_SPARSE = 0.5
# The result of a folder for a claim: the claim, the answer, and the reason.
_Said = tuple[str, str, str]


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and the result for it.

    Args:
        answer: ``holds``, ``does not hold``, ``cannot be told`` or ``not measured``.
        folder: name of the folder that the answer comes from; blank if nothing was measured.
        rule: the rule that decides the answer.

    """

    claim: str
    paper: str
    answer: str
    why: str
    folder: str = ""
    rule: str = ""


def claims(folders: Sequence[ResultFolder]) -> list[Claim]:
    """Check every claim against every folder that tests it; each claim is listed at least once."""
    found = [(folder.name, *said) for folder in folders for said in _said_by(folder)]
    rows = []
    for held in HELD:
        why = f"None of the given folders tests it; run `{held.command}`."
        said = [one for one in found if one[1] == held.claim] or [("", held.claim, NOT_MEASURED, why)]
        rows += [Claim(claim, held.paper, answer, why, folder, held.rule) for folder, claim, answer, why in said]
    return rows


def _said_by(folder: ResultFolder) -> Iterator[_Said]:
    results = folder.results
    if isinstance(results, ComparisonResult):
        yield from _of_tuning(results, folder.description)
    elif isinstance(results, Ablations):
        yield from _of_ablations(results)
    elif isinstance(results, Sparsity):
        yield from _of_sparsity(results)
    elif isinstance(results, Knockouts):
        yield from _of_knockouts(results)


def _of_tuning(found: ComparisonResult, description: Mapping[str, Any]) -> Iterator[_Said]:
    concluded = conclusions(found, found.contrasts)
    by = (description.get("scores") or {}).get("by", "")
    for one in concluded:
        if _scored(by) == "hi" and one.verdict.group.startswith("top-layers:"):
            yield TUNING, one.verdict.answer, f"Ranked by {by}. {one.sentence}"
        else:
            why = f"{one.verdict.group} was ranked by {by}; the claim is about layers ranked by HI."
            yield TUNING, NOT_MEASURED, why
    if not concluded:
        yield TUNING, NOT_MEASURED, no_conclusion(found)


def _of_ablations(found: Ablations) -> Iterator[_Said]:
    for verdict in ablation_verdicts(found.contrasts):
        claim = {"ram": RAM, "hi": HI}.get(_scored(verdict.ranking))
        if claim is None:
            continue
        samples = counted(found.facts["n"], "sample")
        contrasts = found.contrasts
        rows = contrasts[(contrasts["ranking"] == verdict.ranking) & (contrasts["metric"] == verdict.metric)]
        why = (
            f"Ranked by {verdict.ranking}, on {samples}, judged by “{find_metric(verdict.metric).label}”: of "
            f"{counted(verdict.tested, 'contrast')} with random heads {verdict.worse:,} are worse, beyond the "
            f"noise of samples and the spread of random sets, and {verdict.better:,} better (Holm)."
        )
        answer = verdict.answer if verdict.tested else NOT_MEASURED
        yield claim, answer, f"{why}{_surest(rows, found.curves)}"


def _surest(rows: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Describe the contrast with the lowest p-value; of equal ones, the one with the most heads."""
    tested = rows[rows["p_holm"].notna()]
    if tested.empty:
        return ""
    row = tested.sort_values(["p_holm", "heads"], ascending=[True, False], kind="stable").iloc[0]
    place = ["ranking", "mode", "heads", "metric"]
    [lowest] = curves[(curves[place] == row[place]).all(axis=1) & (curves["rule"] == "bottom")]["shift"]
    return (
        f" The clearest: {row['mode']} ablation of {counted(int(row['heads']), 'head')} changes "
        f"“{find_metric(row['metric']).label}” by {signed(row['top'])}, of random heads by {signed(row['random'])} "
        f"(difference {signed(row['difference'])}, 95 % {interval(row['low'], row['high'])}), of "
        f"the lowest heads by {signed(lowest)}."
    )


def _of_sparsity(found: Sparsity) -> Iterator[_Said]:
    costs = {row["group"]: row for row in found.costs.to_dict("records")}
    why = _untested(found, costs[CORE]["sparse"])
    if why:
        yield from ((claim, NOT_MEASURED, why) for claim in (FAST, BETTER))
        return
    chosen = found.plan.chosen
    kept = f"{percent(chosen['share'])} of heads kept, by {chosen['by']}; {percent(costs[CORE]['sparse'])} sparse."
    yield _fast(costs[CORE], costs[DENSE], found.quality, kept)
    if RANDOM in found.groups:
        yield _better(found.quality, kept)


def _untested(found: Sparsity, sparse: float) -> str:
    """Return why a run does not test the claims about CoRe heads; blank if it does."""
    by = found.plan.chosen["by"]
    if _scored(by) != "ram":
        return f"Heads were kept by {by}; CoRe heads are those with the highest RAM."
    if sparse >= _ENOUGH_SPARSE:
        return ""
    told = "; ".join(
        f"{count:,}: {DenseReason(reason).explanation}" for reason, count in found.dense_by_reason.most_common()
    )
    return f"Of layers of prompts {percent(sparse)} were sparse, too few for a test. Dense were: {told or 'all'}."


def _scored(by: str) -> str:
    """Return the score of a ranking SCORE:POSITIONS."""
    return by.partition(":")[0]


def _fast(costs: Mapping[Hashable, Any], dense: Mapping[Hashable, Any], quality: pd.DataFrame, kept: str) -> _Said:
    speed = (
        f"{costs['speedup']:.2f} times as fast to the first token (median of {counted(int(costs['n']), 'prompt')}, "
        f"95 % {costs['speedup_low']:.2f} to {costs['speedup_high']:.2f}; dense against itself "
        f"{dense['speedup_low']:.2f} to {dense['speedup_high']:.2f})"
    )
    rows = quality[(quality["group"] == CORE) & (quality["against"] == DENSE) & quality["metric"].isin(_JUDGED)]
    losses = rows[rows["loss_low"].notna()]
    if losses.empty:
        return FAST, OPEN, f"It is {speed}; neither answers nor descriptions show a loss. {kept}"
    told = ", ".join(
        f"“{find_metric(row['metric']).label}” {number(row['loss'])} ({interval(row['loss_low'], row['loss_high'])})"
        for row in losses.to_dict("records")
    )
    why = f"It is {speed}. Losses relative to the dense model, with 95 % bounds on either side: {told}. {kept}"
    answer = OPEN
    if costs["speedup_high"] < 1 or (losses["loss_low"] > LITTLE).any():
        answer = FAILS
    elif costs["speedup_low"] > max(1.0, dense["speedup_high"]) and (losses["loss_high"] <= LITTLE).all():
        answer = HOLDS
    return FAST, answer, why


def _better(quality: pd.DataFrame, kept: str) -> _Said:
    rows = quality[(quality["group"] == CORE) & (quality["against"] == RANDOM) & quality["p_holm"].notna()]
    sure = rows["p_holm"] < LEVEL
    is_gain = np.array([find_metric(name).higher_is_better for name in rows["metric"]]) == (rows["change"] > 0)
    better, worse = rows[sure & is_gain]["metric"], rows[sure & ~is_gain]["metric"]
    changes = ", ".join(
        f"{find_metric(row['metric']).label} {signed(row['change'])}" for row in rows.to_dict("records")
    )
    why = (
        f"Of {counted(len(rows), 'metric')}, {len(better)} are significantly better than with random heads and "
        f"{len(worse)} worse, beyond the spread of random sets (Holm): {changes or 'nothing was tested'}. {kept}"
    )
    return BETTER, answer_of(len(better), len(worse)) if len(rows) else NOT_MEASURED, why


def _of_knockouts(found: Knockouts) -> Iterator[_Said]:
    measured, heads = flow_contrasts(found), found.facts["options"]["heads"]
    if measured is None or heads is not None:
        needed = ", ".join((IMAGE_QUESTION, IMAGE_LAST, QUESTION_LAST))
        why = f"The test needs the flows {needed} blocked in the same questions, with windows that differ."
        if heads is not None:
            why = f"Flows were blocked in {counted(len(heads), 'chosen head')} only; the claim is about all heads."
        yield from ((claim, NOT_MEASURED, why) for claim in (LOWER, THEN, LITTLE_LAST))
        return
    lower, later, questions = measured.lower, measured.later, counted(measured.questions, "question")
    control = " No control was subtracted: most random edges to the question would belong to the flow."
    why = (
        "Blocked in the lower half of the layers, it costs the answer's probability "
        f"{_percent(lower)} percentage points more than in the upper half, on {questions}."
        f"{'' if measured.has_control else control}"
    )
    yield LOWER, _answer(lower), why
    first, _, second = measured.peaks
    why = (
        f"Blocked, the image to the question costs most around layer {first}, the question to the last position "
        f"around layer {second}: {later.value:+.0f} layers (95 % {later.low:+.0f} to {later.high:+.0f}), on "
        f"{questions}."
    )
    # If both clearly cost most around the same layer, neither comes after the other.
    yield THEN, FAILS if later.high <= 0 else _answer(later), why
    yield _little_last(measured, questions)


def _little_last(measured: FlowContrasts, questions: str) -> _Said:
    first, second = measured.less_than_to_question, measured.less_than_of_question
    to_question, to_last, of_question = measured.largest
    answers = {_answer(first), _answer(second)}
    answer = FAILS if FAILS in answers else HOLDS if answers == {HOLDS} else OPEN
    why = (
        f"Blocked around the layer where it costs most, it costs {to_last:.1f} percentage points; the image to the "
        f"question costs {to_question:.1f}, a difference of {_percent(first)}; the question to the last position "
        f"{of_question:.1f}, a difference of {_percent(second)}; on {questions}."
    )
    return LITTLE_LAST, answer, why


def _answer(one: Interval) -> str:
    """Return the answer by the side of 0 where the interval is; above 0, the claim holds."""
    return HOLDS if one.low > 0 else FAILS if one.high < 0 else OPEN


def _percent(one: Interval) -> str:
    return f"{one.value:z.1f} (95 % {one.low:z.1f} to {one.high:z.1f})"
