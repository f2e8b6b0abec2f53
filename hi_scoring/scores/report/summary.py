"""Summary of scores in numbers and words. Owns the rows that both the terminal and the page show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasetkit.hi_scoring.report.text import NOT_MEASURED, interval, number
from datasetkit.hi_scoring.scores.report.glossary import heading_of
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.statistics import chance_jaccard, layer_differences, rank_stability, split_half_stability
from datasetkit.options.heads import BINARISATIONS

STABILITY_TOP = 5
# More columns than these next to the ranked score do not fit into a terminal of 80 columns.
_BESIDE, _MOST_BESIDE = ("hi", "hi_lift", "ram", "image_mass", "pointing"), 4
_COMPARED = ("hi", "hi_soft", "ram", "image_mass")
_WEAK_TAU = 0.5


@dataclass(frozen=True)
class HeadRow:
    """One head of the table, with cells in the order of :func:`columns_of`."""

    head: Head
    cells: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class StabilityRow:
    """Agreement of two rankings of the heads."""

    what: str
    tau: str
    jaccard: str


@dataclass(frozen=True)
class Stability:
    """Stability of the ranking: rows, and a warning if it is weak, else blank."""

    rows: tuple[StabilityRow, ...]
    warning: str


def columns_of(scores: HeadScores, by: str) -> list[str]:
    """Return the headings of the table of heads."""
    return [heading_of(_split(by)[0]), "95 %", "chance", *(heading_of(name) for name in _others(scores, by))]


def head_rows(scores: HeadScores, by: str, heads: list[Head]) -> list[HeadRow]:
    """Return one row per head: the score that heads are ranked by with interval and chance, then the others."""
    lead, positions = _split(by)
    mean, (low, high) = scores.mean(lead, positions), scores.interval(lead, positions)
    chance, counts = scores.chance(lead, positions), scores.n(lead, positions)
    others = [scores.mean(name, positions) for name in _others(scores, by)]
    rows = []
    for head in heads:
        place = (head.layer, head.head)
        cells = [number(mean[place]), interval(low[place], high[place]), number(chance[place])]
        cells += [number(values[place]) for values in others]
        rows.append(HeadRow(head, tuple(cells), int(counts[place])))
    return rows


def stability(scores: HeadScores, by: str) -> Stability:
    """Compare the ranking between halves of the data, binarisations and scores, and with the chance level."""
    lead, positions = _split(by)
    halves = split_half_stability(scores.values[lead, positions], top=STABILITY_TOP)
    mean = scores.mean(lead, positions)
    ranked = int(np.isfinite(mean).sum())
    by_chance = chance_jaccard(ranked, STABILITY_TOP) if ranked else np.nan
    rows = [
        StabilityRow("random halves of the data", _spread(halves.kendall_tau), _spread(halves.jaccard)),
        StabilityRow("two random rankings", number(0.0), number(by_chance)),
    ]
    pairs = []
    if lead == "hi":
        own = scores.options.binarisation
        pairs = [(f"hi@{name}", f"HI by {own} and by {name}") for name in BINARISATIONS if name != own]
    pairs += [(name, f"{heading_of(lead)} and {heading_of(name)}") for name in _COMPARED if name != lead]
    for name, what in pairs:
        if (name, positions) in scores.values:
            alike = rank_stability(mean, scores.mean(name, positions), top=STABILITY_TOP)
            rows.append(StabilityRow(what, number(alike.kendall_tau), number(alike.jaccard)))
    return Stability(tuple(rows), _warning(float(np.mean(halves.kendall_tau))))


def _warning(tau: float) -> str:
    if not np.isfinite(tau):
        return "Halves of these data cannot be compared, so the stability of the ranking is unknown."
    if tau < _WEAK_TAU:
        return (
            f"The order of the heads is not settled: halves of the data agree with Kendall's tau {tau:z.2f}, below "
            f"{_WEAK_TAU}, so other data may rank otherwise."
        )
    return ""


def layer_sentence(scores: HeadScores, by: str) -> str:
    """Return a sentence on whether layers differ."""
    found = layer_differences(scores.mean(*_split(by)))
    if not np.isfinite(found.p_value):
        return "Too few layers or heads to tell whether layers differ."
    apart = sum(pair.p_value < 0.05 for pair in found.pairs)
    verdict = "Layers differ" if found.p_value < 0.05 else "It cannot be decided whether layers differ"
    return (
        f"{verdict} in {by} (Kruskal-Wallis, H = {found.statistic:.1f}, p = {found.p_value:.2g}); "
        f"{apart} of {len(found.pairs)} pairs of layers differ (Mann-Whitney, Holm-corrected, p < 0.05). "
        "The observations of these tests are heads: they compare this model's layers, whatever the number of samples."
    )


def _others(scores: HeadScores, by: str) -> list[str]:
    """Return the names of the scores shown next to the one that heads are ranked by."""
    lead, positions = _split(by)
    return [name for name in _BESIDE if name != lead and (name, positions) in scores.values][:_MOST_BESIDE]


def _split(by: str) -> tuple[str, str]:
    lead, _, positions = by.partition(":")
    return lead, positions


def _spread(values: np.ndarray) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if np.isfinite(values).all() else NOT_MEASURED
