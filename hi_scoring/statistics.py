"""Statistics of scores: intervals, differences between layers, stability of rankings. Owns the tests used.

NaN means "not measured" everywhere: it is left out, and a result without data is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.floating]

DRAWS, SPLITS, SEED = 2000, 20, 0
# Level of every test, after correction for the others of its family.
LEVEL = 0.05
# The possible verdicts on a claim.
HOLDS, FAILS, OPEN, NOT_MEASURED = "holds", "does not hold", "cannot be told", "not measured"
_CONFIDENCE = 0.95
_CHUNK_BYTES = 32 * 2**20


def answer_of(holding: int, failing: int) -> str:
    """Return the verdict on a claim with this many significant tests for it and against it."""
    if failing and failing >= holding:
        return FAILS
    return HOLDS if holding and not failing else OPEN


class Interval(NamedTuple):
    """A value and the two ends of its interval; NaN means "not measured"."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairDifference:
    """Whether two layers differ: Mann-Whitney U over their heads, p-value corrected by Holm for all pairs."""

    first: int
    second: int
    statistic: float
    p_value: float


@dataclass(frozen=True)
class LayerDifferences:
    """Whether any layers differ (Kruskal-Wallis H over heads), and which pairs do."""

    statistic: float
    p_value: float
    pairs: tuple[PairDifference, ...]


@dataclass(frozen=True)
class RankStability:
    """Agreement of two rankings: Kendall's tau-b over all heads, Jaccard index of the sets of top heads."""

    kendall_tau: float
    jaccard: float


@dataclass(frozen=True)
class SplitHalfStability:
    """Agreement of the rankings of random halves of the data: (splits,) float64 each."""

    kendall_tau: FloatArray
    jaccard: FloatArray


def nanmean(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the mean in float64 without NaN; NaN where all are NaN, without a warning."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=axis, dtype=np.float64) / defined.sum(axis=axis)


def ranking(values: FloatArray) -> NDArray[np.intp]:
    """Return the order of a flattened array, highest first; ties keep their order and NaN is left out."""
    flat = np.ravel(values)
    order = np.argsort(-flat, kind="stable")
    return order[: np.count_nonzero(~np.isnan(flat))]


def bootstrap_interval(
    values: FloatArray,
    draws: int = DRAWS,
    seed: int = SEED,
    reduce: Callable[[FloatArray], FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the 95 % bootstrap interval of the mean (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993).

    All columns are resampled in the same way. A draw without a defined value of a column is ignored for that column.

    Args:
        values: (n, ...) float, NaN where a sample has no value.
        draws: number of draws of n samples with replacement.
        seed: seed of the draws.
        reduce: turns means of shape (draws, a, b) into (draws, a) and is applied before percentiles are taken; needs
            values of shape (n, a, b).

    Returns:
        low and high, float64 each, of the shape of a sample after ``reduce``; NaN where fewer than two samples have a
        value.

    """
    if len(values) < 2 or not values[0].size:
        empty = np.full(values.shape[1:] if reduce is None else values.shape[1:-1], np.nan)
        return empty, empty.copy()
    counts = draw_counts(len(values), draws, np.random.default_rng(seed))
    columns = values if reduce else values.reshape(len(values), -1)
    if reduce is None:
        columns = np.where(np.count_nonzero(~np.isnan(columns), axis=0) < 2, np.nan, columns)
    lows, highs = [], []
    for part in _column_chunks(columns, draws):
        means = _drawn_means(counts, part)
        low, high = _percentiles(means if reduce is None else reduce(means))
        lows.append(low)
        highs.append(high)
    shape = values.shape[1:] if reduce is None else (-1,)
    return np.concatenate(lows).reshape(shape), np.concatenate(highs).reshape(shape)


def draw_counts(size: int, draws: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Draw bootstrap samples: as many items as there are, with replacement.

    Args:
        size: number of items, at least 1.
        draws: number of draws.
        random: the random generator.

    Returns:
        how often each item is in each draw, (draws, size).

    """
    counts = np.empty((draws, size), np.float32)
    rows = max(1, _CHUNK_BYTES // (8 * size))
    for start in range(0, draws, rows):
        part = counts[start : start + rows]
        drawn = random.integers(size, size=part.shape) + size * np.arange(len(part))[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    return counts


def layer_differences(values: FloatArray) -> LayerDifferences:
    """Test whether layers differ: Kruskal-Wallis over their heads, then Mann-Whitney for every pair with Holm.

    Heads are the observations, so the tests compare layers of this model; they do not cover the uncertainty of its
    heads' scores.

    Args:
        values: (layers, heads) float; layers without a defined head are left out.

    Returns:
        the tests; NaN statistic and p-value where there are fewer than two layers or all values are equal.

    """
    groups = {layer: row[~np.isnan(row)] for layer, row in enumerate(values)}
    groups = {layer: row for layer, row in groups.items() if len(row)}
    if len(groups) < 2 or len(np.unique(np.concatenate(list(groups.values())))) < 2:
        return LayerDifferences(np.nan, np.nan, ())
    overall = stats.kruskal(*groups.values())
    pairs = list(combinations(groups, 2))
    tests = [stats.mannwhitneyu(groups[first], groups[second]) for first, second in pairs]
    corrected = holm(np.array([float(test.pvalue) for test in tests]))
    return LayerDifferences(
        float(overall.statistic),
        float(overall.pvalue),
        tuple(
            PairDifference(first, second, float(test.statistic), float(p_value))
            for (first, second), test, p_value in zip(pairs, tests, corrected, strict=True)
        ),
    )


def p_as_drawn(value: float, drawn: Sequence[float]) -> float:
    """Test whether a value could be one more draw from the same distribution as others.

    Args:
        value: the value to test.
        drawn: values of R random draws; their spread is that of chance.

    Returns:
        two-sided p-value of (value - mean) / (s sqrt(1 + 1/R)) by Student's t with R - 1 degrees of freedom, the
        prediction interval of one further draw (Geisser, "Predictive Inference", 1993); NaN for fewer than two draws or
        if any is NaN. If all draws are equal: 1 for a value equal to them, else 0.

    """
    if len(drawn) < 2 or not np.isfinite([value, *drawn]).all():
        return float("nan")
    away, spread = abs(value - float(np.mean(drawn))), float(np.std(drawn, ddof=1))
    if spread == 0:
        return float(away == 0)
    return float(2 * stats.t.sf(away / (spread * np.sqrt(1 + 1 / len(drawn))), len(drawn) - 1))


def holm(p_values: FloatArray) -> FloatArray:
    """Correct p-values for their number (Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979)."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def rank_stability(first: FloatArray, second: FloatArray, top: int) -> RankStability:
    """Compare two scores of the same heads; heads that are undefined in either are left out.

    Args:
        first: float, any shape.
        second: float, the same shape.
        top: size of the sets of top heads, at least 1.

    Returns:
        Kendall's tau-b, NaN with fewer than two heads or where one score is constant, and the Jaccard index.

    """
    both = ~np.isnan(first) & ~np.isnan(second)
    first, second = first[both], second[both]
    if not len(first):
        return RankStability(np.nan, np.nan)
    best, best_second = set(ranking(first)[:top].tolist()), set(ranking(second)[:top].tolist())
    tau = float(stats.kendalltau(first, second).statistic) if len(first) > 1 else np.nan
    return RankStability(tau, len(best & best_second) / len(best | best_second))


def chance_jaccard(heads: int, top: int) -> float:
    """Return the mean Jaccard index of the top heads of two independent rankings.

    Args:
        heads: number of ranked heads, at least 1.
        top: size of the sets of top heads, at least 1.

    """
    top = min(top, heads)
    shared = np.arange(top + 1)
    return float(stats.hypergeom.pmf(shared, heads, top, top) @ (shared / (2 * top - shared)))


def split_half_stability(values: FloatArray, top: int, seed: int = SEED) -> SplitHalfStability:
    """Compare the rankings by two random halves of the samples, ``SPLITS`` times; an odd sample is left out.

    Args:
        values: (n, ...) float, NaN where a sample has no value.
        top: size of the sets of top heads, at least 1.
        seed: seed of the splits.

    Returns:
        both measures for every split; all NaN with fewer than two samples.

    """
    random = np.random.default_rng(seed)
    half = len(values) // 2
    found = []
    for _ in range(SPLITS):
        order = random.permutation(len(values))
        halves = nanmean(values[order[:half]]), nanmean(values[order[half : 2 * half]])
        found.append(rank_stability(*halves, top=top))
    return SplitHalfStability(np.array([one.kendall_tau for one in found]), np.array([one.jaccard for one in found]))


def _column_chunks(columns: FloatArray, draws: int) -> Iterator[FloatArray]:
    """Yield chunks of the second axis, so that the means of all draws of a chunk fit into a few megabytes."""
    width = max(1, _CHUNK_BYTES // (8 * draws * max(1, columns[0, 0].size)))
    for start in range(0, columns.shape[1], width):
        yield columns[:, start : start + width]


def _drawn_means(counts: NDArray[np.float32], values: FloatArray) -> FloatArray:
    """Return means of (n, ...) values in each of (draws, n) draws: (draws, ...) float64, NaN if there are no values."""
    flat = values.reshape(len(values), -1)
    defined = ~np.isnan(flat)
    weights = counts.astype(np.float64)
    totals = weights @ np.where(defined, flat, 0)
    sizes = np.float64(len(flat)) if defined.all() else weights @ defined.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (totals / sizes).reshape(len(counts), *values.shape[1:])


def _percentiles(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper percentile over (draws, columns) without NaN; NaN for a column of only NaN."""
    shares = [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2]
    low, high = np.quantile(draws, shares, axis=0)
    for column in np.flatnonzero(np.isnan(low)):
        defined = draws[:, column][~np.isnan(draws[:, column])]
        if len(defined):
            low[column], high[column] = np.quantile(defined, shares)
    return low, high
