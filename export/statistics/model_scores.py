"""Statistics of model scores of objects. Owns their counting and the quantiles."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from datasetkit.core.record import Scores
from datasetkit.export.dataset.plain_json import require_counts

SCORE_NAMES = tuple(item.name for item in fields(Scores))
_PARTS = 1000


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """Statistics of one score over the objects for which it was measured, all in thousandths.

    Args:
        measured: number of objects with the score.
        p5: 5 % quantile; the other quantiles accordingly.

    """

    measured: int
    mean: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float

    @property
    def figures(self) -> list[str]:
        """Mean and quantiles in ascending order, for tables."""
        return [f"{value:.3f}" for value in (self.mean, self.p5, self.p25, self.median, self.p75, self.p95)]


class ScoreCounter:
    """Counts the scores of objects, rounded to thousandths, in constant memory."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[int]] = {name: Counter() for name in SCORE_NAMES}

    def add(self, scores: Mapping[str, float | None]) -> None:
        """Count the scores of one object."""
        for name, counts in self._counts.items():
            value = scores[name]
            if value is not None:
                counts[round(_PARTS * float(value))] += 1

    def update(self, other: ScoreCounter) -> None:
        """Add the scores of other objects."""
        for name, counts in other._counts.items():
            self._counts[name].update(counts)

    def to_json(self) -> dict[str, list[list[int]]]:
        """Return pairs of thousandths and their count, by score, as plain JSON."""
        return {name: [list(pair) for pair in sorted(counts.items())] for name, counts in self._counts.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ScoreCounter:
        """Read what :meth:`to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: it is not of that form.

        """
        counter = cls()
        for name, counts in counter._counts.items():
            counts.update(dict(value[name]))
            require_counts(*counts, *counts.values())
        return counter

    def finish(self) -> dict[str, ScoreSummary]:
        """Return the statistics of all measured scores, by name."""
        return {name: _summary(counts) for name, counts in self._counts.items() if counts}


def _summary(counts: Counter[int]) -> ScoreSummary:
    measured = counts.total()
    parts = sorted(counts)
    up_to = list(itertools.accumulate(counts[part] for part in parts))

    def quantile(percent: int) -> float:
        return parts[bisect_left(up_to, percent * measured / 100)] / _PARTS

    total = sum(part * count for part, count in counts.items())
    return ScoreSummary(
        measured=measured,
        mean=round(total / measured) / _PARTS,
        p5=quantile(5),
        p25=quantile(25),
        median=quantile(50),
        p75=quantile(75),
        p95=quantile(95),
    )
