"""Conclusions on the paper's claim, in words. Owns the sentences, and their caveats on seeds and many tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from datasetkit.core.text import counted
from datasetkit.hi_scoring.comparison.cells import TEST
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.report.glossary import lowest_p
from datasetkit.hi_scoring.comparison.table import EVERYTHING, Verdict, verdicts
from datasetkit.hi_scoring.evaluation.metrics import find_metric
from datasetkit.hi_scoring.statistics import FAILS, HOLDS, LEVEL


@dataclass(frozen=True)
class Conclusion:
    """The verdict on the paper's claim for one top group compared with its rivals, and its sentence."""

    verdict: Verdict
    rivals: tuple[str, ...]
    sentence: str


def conclusions(comparison: Comparison, contrasts: pd.DataFrame) -> list[Conclusion]:
    """Return the verdict on each top group that has rivals, in words."""
    rest = contrasts[(contrasts["test"] == TEST) & (contrasts["second"] != EVERYTHING)]
    samples = len(comparison.untuned.measured[TEST].sample_ids)
    found = []
    for verdict in verdicts(contrasts):
        rivals = tuple(str(name) for name in rest[rest["first"] == verdict.group]["second"].unique())
        runs = [len(comparison.groups[group]) for group in (verdict.group, *rivals)]
        sentence = _sentence(verdict, samples, min(runs))
        if max(runs) == 1:
            sentence += " Seeds were not varied: another one may say otherwise."
        elif min(runs) == 1:
            sentence += " Seeds were not varied for all of them: another one may say otherwise."
        if lowest_p(contrasts, TEST) >= LEVEL:
            sentence += " Corrected for so many contrasts, no difference can be significant: compare fewer at once."
        found.append(Conclusion(verdict, rivals, sentence))
    return found


def no_conclusion(comparison: Comparison) -> str:
    """Return why the claim was not tested."""
    return (
        "The claim was not tested: a test needs layers or heads with the highest scores, and as many with the lowest "
        f"scores or drawn at random to compare them with. Here: {', '.join(comparison.groups)}."
    )


def _sentence(verdict: Verdict, samples: int, runs: int) -> str:
    group, tested = verdict.group, verdict.tested
    holding, failing = _named(verdict.holding, tested), _named(verdict.failing, tested)
    if verdict.answer == HOLDS:
        return (
            f"For {group} the claim holds here: it shifts the model significantly more than every rival of its size in "
            f"{holding}, and no rival shifts it significantly more in any."
        )
    if verdict.answer == FAILS:
        return (
            f"For {group} the claim does not hold here: a rival of its size shifts the model significantly more in "
            f"{failing}; it shifts the model significantly more than every rival in {holding}."
        )
    return (
        f"For {group} it cannot be told from {counted(samples, 'sample')} and {counted(runs, 'seed')} whether the "
        f"claim holds: it shifts the model significantly more than every rival of its size in {holding}; a rival "
        f"shifts it significantly more in {failing}."
    )


def _named(metrics: Sequence[str], tested: int) -> str:
    """Count metrics and name them: ``2 of 7 metrics (CIDEr, Right answers)``."""
    if not metrics:
        return f"none of {counted(tested, 'metric')}"
    names = ", ".join(find_metric(name).label for name in metrics)
    return f"{len(metrics)} of {counted(tested, 'metric')} ({names})"
