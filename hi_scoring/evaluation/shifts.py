"""How far a change of a model shifts a figure, and whether another one shifts it further. Owns intervals and p-values.

A change is anything that distinguishes runs from the unchanged model: tuning, ablated heads, sparse prefill. Everything
is paired: a draw has the same samples for every run and for the baseline. Runs of a cell are drawn too, independently
of samples (the pigeonhole bootstrap; Owen, "The Pigeonhole Bootstrap", 2007), so an interval covers other samples and
other runs: other training seeds, other random sets of heads. R runs show (R - 1) / R of the variance between runs:
where it exceeds that of the samples, intervals of two or three runs are too narrow, and a single run shows none of it.
Where runs hardly differ, intervals are wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.errors import RecordError
from datasetkit.hi_scoring.evaluation.metrics import Measured, find_metric
from datasetkit.hi_scoring.statistics import SEED, FloatArray, draw_counts

# Enough that a p-value, at least 2 / (draws + 1), can be small after correction for a hundred tests.
DRAWS = 10_000
_ENDS = (0.025, 0.975)
_CHUNK_DRAWS = 1000
# Random streams that are independent of each other.
_OF_SAMPLES, _OF_FIRST, _OF_SECOND = range(3)


@dataclass(frozen=True)
class Estimate:
    """A difference with its 95 % percentile interval and two-sided p-value; NaN means "not measured".

    The p-value is twice the share of draws on the rarer side of 0, with one draw added to each side.
    """

    value: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Cell:
    """One way of changing a model.

    Args:
        baseline: the unchanged model.
        runs: runs of the changed model, at least one, which differ only in what is drawn at random.

    Raises:
        RecordError: there is no run, or a run measured other samples or the same ones in another order.

    """

    baseline: Measured
    runs: Sequence[Measured]

    def __post_init__(self) -> None:
        if not self.runs:
            raise RecordError("a cell has no run; give at least one")
        for run in self.runs:
            _require_same_samples(self.baseline, run)

    def shifts(self, name: str) -> list[float]:
        """Return for each run how far a metric's figure is above the baseline's."""
        return [run.figure(name) - self.baseline.figure(name) for run in self.runs]

    def shift(self, name: str) -> float:
        """Return how far a metric's figure is above the baseline's, as a mean over runs."""
        return float(np.mean(self.shifts(name)))


def shift(name: str, cell: Cell, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Estimate how far a change shifts a metric: the mean figure of the runs minus the baseline's.

    Args:
        name: name of the metric.
        cell: the runs.
        draws: number of draws of samples and runs with replacement.
        seed: seed of the draws.

    Returns:
        the shift; its interval and p-value are NaN where fewer than two samples have a value. Draws in which a figure
        is undefined are ignored.

    Raises:
        UnknownNameError: the metric is unknown or was not measured.

    """
    if not _supports(name, cell):
        return Estimate(cell.shift(name), np.nan, np.nan, np.nan)
    return _estimate(cell.shift(name), _drawn_shifts(name, cell, draws, seed, _OF_FIRST))


def contrast(name: str, first: Cell, second: Cell, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Estimate the shift of the first cell minus that of the second; otherwise like :func:`shift`.

    The cells' runs are drawn independently of each other.

    Raises:
        RecordError: the cells measured other samples.

    """
    return _compared(name, first, second, draws, seed, np.positive)


def size_contrast(name: str, first: Cell, second: Cell, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Estimate how much larger the first cell's shift is in size, |shift| - |shift|; otherwise like :func:`contrast`.

    By chance every shift has some size: interpret this only where at least one of the shifts differs from 0.
    """
    return _compared(name, first, second, draws, seed, np.abs)


def _compared(
    name: str, first: Cell, second: Cell, draws: int, seed: int, of_shift: Callable[[FloatArray], FloatArray]
) -> Estimate:
    _require_same_samples(first.baseline, second.baseline)
    value, other = (float(of_shift(np.array(cell.shift(name)))) for cell in (first, second))
    if not (_supports(name, first) and _supports(name, second)):
        return Estimate(value - other, np.nan, np.nan, np.nan)
    drawn = [
        of_shift(_drawn_shifts(name, cell, draws, seed, stream))
        for cell, stream in ((first, _OF_FIRST), (second, _OF_SECOND))
    ]
    return _estimate(value - other, drawn[0] - drawn[1])


def _require_same_samples(first: Measured, second: Measured) -> None:
    one, other = list(first.sample_ids), list(second.sample_ids)
    if one == other:
        return
    if len(one) != len(other):
        found = f"one measured {len(one)} samples, another {len(other)}"
    else:
        place = next(place for place in range(len(one)) if one[place] != other[place])
        found = f"sample {place} is {one[place]!r} in one, {other[place]!r} in another"
    raise RecordError(
        f"runs are compared sample by sample, but {found}; measure all on the same rows in the same order"
    )


@lru_cache(maxsize=8)
def _drawn(count: int, draws: int, seed: int, stream: int) -> NDArray[np.uint16]:
    """Return how often each of ``count`` items is in each draw, (draws, count); the same for all estimates on them."""
    return draw_counts(count, draws, np.random.default_rng([seed, stream])).astype(np.uint16)


def _drawn_shifts(name: str, cell: Cell, draws: int, seed: int, stream: int) -> FloatArray:
    """Draw samples, the same for every cell, and runs from a separate stream; return the shifts, (draws,)."""
    samples = _drawn(len(cell.baseline.sample_ids), draws, seed, _OF_SAMPLES)
    baseline = _drawn_figures(name, cell.baseline, samples)
    # Subtracting per run keeps runs that change nothing at exactly 0.
    shifts = np.column_stack([_drawn_figures(name, run, samples) - baseline for run in cell.runs])
    runs = _drawn(len(cell.runs), draws, seed, stream)
    return (runs * shifts).sum(axis=1) / len(cell.runs)


def _drawn_figures(name: str, measured: Measured, samples: NDArray[np.uint16]) -> FloatArray:
    """Return a metric's figure in each of (draws, n) draws, shape (draws,)."""
    reduce, statistics = find_metric(name).reduce, measured.of(name)
    parts = range(0, len(samples), _CHUNK_DRAWS)
    return np.concatenate([reduce(samples[at : at + _CHUNK_DRAWS].astype(np.float64) @ statistics) for at in parts])


def _supports(name: str, cell: Cell) -> bool:
    return min(run.n(name) for run in (cell.baseline, *cell.runs)) > 1


def _estimate(value: float, drawn: FloatArray) -> Estimate:
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return Estimate(value, np.nan, np.nan, np.nan)
    low, high = np.quantile(defined, _ENDS)
    rarer = int(min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0)))
    return Estimate(value, float(low), float(high), min(1.0, 2 * (1 + rarer) / (len(defined) + 1)))
