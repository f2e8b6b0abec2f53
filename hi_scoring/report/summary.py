"""What a report says of scores, in numbers and words. Owns the rows that the terminal and the page both show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hi_scoring.results import Head, HeadScores
from hi_scoring.scores.options import BINARISATIONS
from hi_scoring.statistics import layer_differences, rank_stability, split_half_stability

STABILITY_TOP = 5
_SHOWN = (("hi", "HI"), ("hi_lift", "lift"), ("ram", "RAM"), ("image_mass", "picture"), ("pointing", "pointing"))


@dataclass(frozen=True)
class HeadRow:
    """One head of the table: its cells are in the order of :func:`columns_of`."""

    head: Head
    cells: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class StabilityRow:
    """How alike two rankings of the heads are."""

    what: str
    tau: str
    jaccard: str


def columns_of(scores: HeadScores, by: str) -> list[str]:
    """Headings of the table of heads."""
    return [by.partition(":")[0], "95 %", "chance", *(label for _, label in _others(scores, by))]


def head_rows(scores: HeadScores, by: str, heads: list[Head]) -> list[HeadRow]:
    """Describe heads: the score they are ranked by with interval and chance, then the others."""
    lead, positions = by.partition(":")[0], _positions(by)
    mean, (low, high) = scores.mean(lead, positions), scores.interval(lead, positions)
    chance, counts = scores.chance(lead, positions), scores.n(lead, positions)
    others = [scores.mean(name, positions) for name, _ in _others(scores, by)]
    rows = []
    for head in heads:
        place = (head.layer, head.head)
        cells = [number(mean[place]), interval(low[place], high[place]), number(chance[place])]
        cells += [number(values[place]) for values in others]
        rows.append(HeadRow(head, tuple(cells), int(counts[place])))
    return rows


def stability_rows(scores: HeadScores, by: str) -> list[StabilityRow]:
    """Compare the ranking between halves of the data, binarisations and scores."""
    lead, positions = by.partition(":")[0], _positions(by)
    halves = split_half_stability(scores.values[lead, positions], top=STABILITY_TOP)
    rows = [StabilityRow(f"random halves of the data, {lead}", _spread(halves.kendall_tau), _spread(halves.jaccard))]
    mean = scores.mean(lead, positions)
    pairs = []
    if lead == "hi":
        own = scores.options.binarisation
        pairs = [(f"hi@{name}", f"HI by {own} and by {name}") for name in BINARISATIONS if name != own]
    pairs += [(name, f"{lead} and {name}") for name in ("hi", "hi_soft", "ram", "image_mass") if name != lead]
    for name, what in pairs:
        if (name, positions) in scores.values:
            alike = rank_stability(mean, scores.mean(name, positions), top=STABILITY_TOP)
            rows.append(StabilityRow(what, number(alike.kendall_tau), number(alike.jaccard)))
    return rows


def layer_sentence(scores: HeadScores, by: str) -> str:
    """Say whether layers differ."""
    found = layer_differences(scores.mean(*_split(by)))
    if not np.isfinite(found.p_value):
        return "Too few layers or heads to tell whether layers differ."
    apart = sum(pair.p_value < 0.05 for pair in found.pairs)
    verdict = "Layers differ" if found.p_value < 0.05 else "It cannot be told whether layers differ"
    return (
        f"{verdict} in {by} (Kruskal-Wallis over heads, H = {found.statistic:.1f}, p = {found.p_value:.2g}); "
        f"{apart} of {len(found.pairs)} pairs of layers are apart (Mann-Whitney, Holm-corrected, p < 0.05)."
    )


def interval(low: float, high: float) -> str:
    """Both ends of an interval, either of which may be negative."""
    return f"{low:.3f} to {high:.3f}" if np.isfinite(low) else "-"


def _others(scores: HeadScores, by: str) -> list[tuple[str, str]]:
    """Names and headings of the scores that stand beside the one that heads are ranked by."""
    lead, positions = _split(by)
    return [(name, label) for name, label in _SHOWN if name != lead and (name, positions) in scores.values]


def _positions(by: str) -> str:
    return _split(by)[1]


def _split(by: str) -> tuple[str, str]:
    lead, _, positions = by.partition(":")
    return lead, positions


def number(value: float) -> str:
    """A score to three places; a dash where it is not defined."""
    return f"{value:.3f}" if np.isfinite(value) else "-"


def _spread(values: np.ndarray) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if np.isfinite(values).all() else "-"
