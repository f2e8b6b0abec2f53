"""Explanations of the names in reports of a comparison, and of how its numbers are computed. Owns these texts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from datasetkit.hi_scoring.comparison.table import EVERYTHING
from datasetkit.hi_scoring.comparison.trials import UNTUNED
from datasetkit.hi_scoring.evaluation.metrics import find_metric
from datasetkit.hi_scoring.evaluation.shifts import DRAWS
from datasetkit.hi_scoring.report.text import number
from datasetkit.hi_scoring.statistics import LEVEL, SEED

MARK = "*"
LOWER_IS_BETTER = "↓"
# Words have at most seven letters, so that seven metrics fit into a terminal of 80 columns.
_HEADINGS = {
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "key_precision": "named objects there",
    "key_recall": "key objects named",
    "hallucination": "absent object named",
    "accuracy": "right answers",
}
_METRICS = {
    "bleu4": "runs of 1 to 4 words that captions share with the descriptions, counted over all samples together "
    "(Papineni et al. 2002), unsmoothed, from 0 to 1",
    "rouge_l": "longest sequence of words that a caption shares with the description (Lin 2004; F with beta 1.2), "
    "from 0 to 1",
    "cider": "shared runs of 1 to 4 words, weighted by their rarity in the descriptions (Vedantam et al. "
    "2015), from 0 to 10; figures of different test sets cannot be compared",
    "key_precision": "of the phrases that name an object, the share whose object is in the image",
    "key_recall": "share of the key objects of the images that the captions name",
    "hallucination": "share of captions that name an object that is not in the image (CHAIR_s of Rohrbach et al. 2018)",
    "accuracy": "share of questions answered with exactly the words of the right answer",
}


def heading_of(metric: str) -> str:
    """Return the heading of a metric's column."""
    found = find_metric(metric)
    heading = _HEADINGS.get(metric, found.label)
    return heading if found.higher_is_better else f"{heading} {LOWER_IS_BETTER}"


def explained(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Return explanations of metrics, by heading and name in files."""
    return [
        (heading_of(name) if heading_of(name) == name else f"{heading_of(name)} ({name})", _METRICS[name])
        for name in metrics
    ]


def method(shifts: pd.DataFrame, contrasts: pd.DataFrame) -> dict[str, str]:
    """Return how the numbers of both tables are computed, by kind of number."""
    told = {
        "figure": "mean over the runs of a configuration, which differ only in their seed; after ± the standard "
        "deviation over runs",
        "shift": "figure of the tuned model minus that of the untuned one, mean over runs",
        "larger by": "size of the first shift minus size of the second, whatever their signs, since the claim is about "
        "the largest shift; the difference next to it is that of the shifts with their signs",
        "intervals": f"95 % percentile intervals of {DRAWS:,} draws (seed {SEED}), in each of which samples and, "
        "independently of them, runs are drawn with replacement (the pigeonhole bootstrap; Owen 2007). A draw has the "
        "same samples for all configurations and for the untuned model",
        "p-values": "two-sided: twice the share of draws on the rarer side of 0, with one draw added to each side. "
        "Holm's method corrects the shifts of a test set for their number, and likewise its contrasts; "
        f"questions of single types and contrasts with {EVERYTHING}, which tunes more, are not among them",
        "seeds": _seeds(shifts),
    }
    return told if len(contrasts) else {name: words for name, words in told.items() if name != "larger by"}


def lowest_p(table: pd.DataFrame, test: str) -> float:
    """Return the lowest possible p-value of a test set after correction for all its tests, at most 1."""
    return min(1.0, _tests(table, test) * 2 / (DRAWS + 1))


def mark_sentence(table: pd.DataFrame, test: str) -> str:
    """Return what the mark means, or that too many tests were made for any mark."""
    tests, lowest = _tests(table, test), lowest_p(table, test)
    if not tests:
        return "nothing was tested"
    if lowest < LEVEL:
        return f"{MARK} p < {LEVEL}, corrected for {tests:,} tests (Holm)"
    return f"no p corrected for {tests:,} tests (Holm) can be below {number(lowest)}, so none is marked"


def _tests(table: pd.DataFrame, test: str) -> int:
    return int(table[table["test"] == test]["p_holm"].notna().sum())


def _seeds(shifts: pd.DataFrame) -> str:
    """Return what the number of runs can show and what it cannot."""
    runs = shifts[shifts["group"] != UNTUNED]["runs"]
    if runs.max() == 1:
        return (
            "seeds were not varied: each configuration ran once, so intervals and p-values only cover other samples. "
            "With another seed, examples come in another order and adapters start with other weights; how much "
            "figures would change then is unknown"
        )
    silent = "" if runs.min() > 1 else "; a configuration that ran once does not show it"
    return (
        "R runs show (R - 1) / R of the variance between seeds: where it exceeds that of samples, intervals of two or "
        f"three runs are too narrow{silent}"
    )
