"""Estimates for sparse prefill beyond means of samples. Owns medians of ratios, and relative losses.

Intervals are percentiles of bootstraps over images, each drawn with all of its prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from datasetkit.hi_scoring.evaluation import shifts
from datasetkit.hi_scoring.evaluation.metrics import Measured, find_metric
from datasetkit.hi_scoring.statistics import DRAWS, SEED, FloatArray, Interval, draw_counts

_ENDS = (0.025, 0.975)
# Each one separately is a 95 % bound.
_BOUNDS = (0.05, 0.95)
_CHUNK_DRAWS = 500


def median(values: FloatArray, images: Sequence[str]) -> Interval:
    """Return a median and its 95 % interval.

    Args:
        values: (n,) float; NaN is left out.
        images: image id of each value.

    Returns:
        the median; the interval is NaN for fewer than two images.

    """
    defined = ~np.isnan(values)
    if not defined.any():
        return Interval(np.nan, np.nan, np.nan)
    order = np.argsort(values[defined], kind="stable")
    rising = values[defined][order]
    _, places = np.unique(np.asarray(images)[defined], return_inverse=True)
    value, size = float(np.median(rising)), int(places.max()) + 1
    if size < 2:
        return Interval(value, np.nan, np.nan)
    drawn = [_medians(rising, counts[:, places[order]]) for counts in _drawn(size, DRAWS)]
    low, high = np.quantile(np.concatenate(drawn), _ENDS)
    return Interval(value, float(low), float(high))


def median_above(values: FloatArray, least: FloatArray) -> float:
    """Return the median of values, some of which are only known to be below a limit.

    Args:
        values: (n,) float, NaN for a value that is only known to be in [0, ``least``).
        least: (n,) float.

    Returns:
        the median; NaN if it depends on unknown values.

    """
    lowest, highest = (float(np.median(np.where(np.isnan(values), end, values))) for end in (0.0, least))
    return highest if lowest == highest else np.nan


def loss(name: str, dense: Measured, sparse: Measured) -> Interval:
    """Return the relative loss of a metric compared with the dense model.

    For a metric where lower is better, the loss is computed on 1 minus the figure. Both figures of a draw use the same
    images; draws in which the dense model's figure is 0 are ignored.

    Both were measured on the same samples in the same order.

    Returns:
        the loss as a share, below 0 for a gain, and two ends, each a 95 % bound; NaN where the dense model's figure is
        0, ends also where fewer than two samples have a value.

    """
    metric = find_metric(name)
    one, other = dense.of(name), sparse.of(name)

    def lost(weights: FloatArray) -> FloatArray:
        before, after = metric.reduce(weights @ one), metric.reduce(weights @ other)
        if not metric.higher_is_better:
            before, after = 1 - before, 1 - after
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(before > 0, (before - after) / before, np.nan)

    size = len(dense.sample_ids)
    value = float(lost(np.ones((1, size)))[0])
    drawn = np.concatenate([lost(counts) for counts in _drawn(size, shifts.DRAWS)])
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or min(dense.n(name), sparse.n(name)) < 2 or not len(drawn):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(drawn, _BOUNDS)
    return Interval(value, float(low), float(high))


def _drawn(size: int, draws: int) -> Iterator[FloatArray]:
    """Yield how often each of ``size`` images is in each draw, (draws, size), part by part."""
    random = np.random.default_rng(SEED)
    for start in range(0, draws, _CHUNK_DRAWS):
        yield draw_counts(size, min(_CHUNK_DRAWS, draws - start), random).astype(np.float64)


def _medians(rising: FloatArray, counts: FloatArray) -> FloatArray:
    """Return medians of ascending (n,) values, each repeated as often as in (draws, n) counts."""
    until = counts.cumsum(axis=1)
    total = until[:, -1:]
    places = [(until > rank).argmax(axis=1) for rank in ((total - 1) // 2, total // 2)]
    return (rising[places[0]] + rising[places[1]]) / 2
