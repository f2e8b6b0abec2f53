"""What the names in reports of a comparison mean, and how its numbers come about. Owns these words."""

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
# No word has more than seven letters, so that seven metrics fit into a terminal of 80 columns.
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
    "cider": "runs of 1 to 4 words shared, the more weighty the rarer they are in the descriptions (Vedantam et al. "
    "2015), from 0 to 10; figures of different test sets cannot be compared",
    "key_precision": "share of the phrases that name something of which it is in the image",
    "key_recall": "share of the key objects of the images that the captions name",
    "hallucination": "share of captions that name something that is not in the image (CHAIR_s of Rohrbach et al. 2018)",
    "accuracy": "share of questions answered in the very words of the right answer",
}


def heading_of(metric: str) -> str:
    """What a metric is called at the head of a column."""
    found = find_metric(metric)
    heading = _HEADINGS.get(metric, found.label)
    return heading if found.higher_is_better else f"{heading} {LOWER_IS_BETTER}"


def explained(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Say of each metric, by its heading and its name in files, what it is."""
    return [
        (heading_of(name) if heading_of(name) == name else f"{heading_of(name)} ({name})", _METRICS[name])
        for name in metrics
    ]


def method(shifts: pd.DataFrame, contrasts: pd.DataFrame) -> dict[str, str]:
    """Say how the numbers of both tables come about, by what they are."""
    told = {
        "figure": "mean over the runs of a way of tuning, which differ by their seed alone; after ± the standard "
        "deviation over runs",
        "shift": "figure of the tuned model less that of the untuned one, mean over runs",
        "larger by": "size of the first shift less size of the second, whatever their signs, for the claim is of the "
        "largest shift; the difference beside it is that of the shifts with their signs",
        "intervals": f"95 % percentile intervals of {DRAWS:,} draws (seed {SEED}), in each of which samples and, "
        "independently of them, runs are drawn with replacement (the pigeonhole bootstrap; Owen 2007). A draw has the "
        "same samples for all ways of tuning and for the untuned model",
        "p-values": "two-sided: twice the share of draws on the rarer side of 0, each side given one draw more than it "
        "has. Holm's method corrects the shifts of a test set for their number, and so the contrasts of a test set; "
        f"questions of single types and contrasts with {EVERYTHING}, which tunes more, are not among them",
        "seeds": _seeds(shifts),
    }
    return told if len(contrasts) else {name: words for name, words in told.items() if name != "larger by"}


def lowest_p(table: pd.DataFrame, test: str) -> float:
    """Give the p-value that none of a test set can be below when corrected for all its tests, at most 1."""
    return min(1.0, _tests(table, test) * 2 / (DRAWS + 1))


def mark_sentence(table: pd.DataFrame, test: str) -> str:
    """Say what the mark stands for; where so much was tested that nothing can have it, say that."""
    tests, lowest = _tests(table, test), lowest_p(table, test)
    if not tests:
        return "nothing was tested"
    if lowest < LEVEL:
        return f"{MARK} p < {LEVEL}, corrected for {tests:,} tests (Holm)"
    return f"no p corrected for {tests:,} tests (Holm) can be below {number(lowest)}, so none is marked"


def _tests(table: pd.DataFrame, test: str) -> int:
    return int(table[table["test"] == test]["p_holm"].notna().sum())


def _seeds(shifts: pd.DataFrame) -> str:
    """Say what the number of runs can tell and what it cannot."""
    runs = shifts[shifts["group"] != UNTUNED]["runs"]
    if runs.max() == 1:
        return (
            "seeds were not varied: each way of tuning ran once, so intervals and p-values speak of other samples "
            "only. With another seed, examples come in another order and adapters begin with other numbers; how far "
            "figures would move then is not known"
        )
    silent = "" if runs.min() > 1 else "; a way of tuning that ran once is silent on it"
    return (
        "R runs show (R - 1) / R of what seeds vary by: where that outweighs the samples, intervals of two or three "
        f"runs are too narrow{silent}"
    )
