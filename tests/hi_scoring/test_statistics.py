"""Intervals, differences between layers and stability of rankings, compared with loops and scipy."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from datasetkit.hi_scoring.statistics import (
    bootstrap_interval,
    chance_jaccard,
    holm,
    layer_differences,
    nanmean,
    p_as_drawn,
    rank_stability,
    ranking,
    split_half_stability,
)

NAN = math.nan


def _looped_interval(column: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    if np.count_nonzero(~np.isnan(column)) < 2:
        return NAN, NAN
    random = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        drawn = [column[place] for place in random.integers(len(column), size=len(column))]
        defined = [value for value in drawn if not np.isnan(value)]
        if defined:
            means.append(sum(defined) / len(defined))
    return tuple(np.percentile(means, [2.5, 97.5]))


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.9])
def test_interval_equals_a_plain_loop(missing: float) -> None:
    random = np.random.default_rng(5)
    values = random.normal(size=(12, 2, 3)).astype(np.float32)
    values[random.random(values.shape) < missing] = NAN
    low, high = bootstrap_interval(values, draws=300, seed=7)
    assert low.shape == high.shape == (2, 3)
    for place in np.ndindex(2, 3):
        expected = _looped_interval(values[:, *place].astype(np.float64), 300, 7)
        assert (low[place], high[place]) == pytest.approx(expected, nan_ok=True)


def test_interval_needs_two_samples() -> None:
    for few in (np.empty((0, 2, 3)), np.full((1, 2, 3), 0.25)):
        for end in bootstrap_interval(few):
            assert end.shape == (2, 3)
            assert np.isnan(end).all()
    for end in bootstrap_interval(np.array([[0.25, 0.5, NAN], [NAN, 0.5, NAN]])):
        assert end.tolist() == pytest.approx([NAN, 0.5, NAN], nan_ok=True)


def test_interval_width_matches_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(size=(400, 1))
    low, high = bootstrap_interval(values)
    assert float(high[0] - low[0]) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    assert low < values.mean() < high


def test_interval_depends_on_seed_and_not_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(20, 6, 3))
    whole = bootstrap_interval(values, draws=100)
    assert not np.array_equal(whole[0], bootstrap_interval(values, draws=100, seed=1)[0])
    monkeypatch.setattr("datasetkit.hi_scoring.statistics._CHUNK_BYTES", 1)
    chunked = bootstrap_interval(values, draws=100)
    np.testing.assert_allclose(chunked, whole, rtol=1e-12)
    layers = bootstrap_interval(values, draws=100, reduce=lambda means: means.max(axis=-1))
    assert layers[0].shape == (6,)


def test_reduction_is_applied_in_every_draw() -> None:
    values = np.random.default_rng(3).normal(size=(9, 2, 4))
    random = np.random.default_rng(0)
    drawn = [values[random.integers(9, size=9)].mean(axis=0).max(axis=-1) for _ in range(200)]
    low, high = bootstrap_interval(values, draws=200, reduce=lambda means: means.max(axis=-1))
    np.testing.assert_allclose(np.array([low, high]), np.percentile(drawn, [2.5, 97.5], axis=0))


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_is_stepwise_and_monotone(p_values: list[float], expected: list[float]) -> None:
    assert holm(np.array(p_values)).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "drawn", "expected"),
    [
        (2.0, [0.0, 2.0, 4.0], 1.0),
        # 4 / (1 sqrt(4/3)), t distribution with 2 degrees of freedom.
        (5.0, [0.0, 1.0, 2.0], 0.07418),
        (-3.0, [0.0, 1.0, 2.0], 0.07418),
        (1.0, [1.0, 1.0], 1.0),
        (1.1, [1.0, 1.0], 0.0),
        (1.0, [0.0], NAN),
        (NAN, [0.0, 1.0], NAN),
        (1.0, [0.0, NAN], NAN),
    ],
)
def test_a_value_as_one_more_draw(value: float, drawn: list[float], expected: float) -> None:
    assert p_as_drawn(value, drawn) == pytest.approx(expected, abs=1e-5, nan_ok=True)


@pytest.mark.slow
def test_p_as_drawn_keeps_its_level() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 6))
    found = np.array([p_as_drawn(one[0], one[1:].tolist()) for one in draws])
    assert np.mean(found < 0.05) == pytest.approx(0.05, abs=0.012)


def test_layer_differences_equal_scipy() -> None:
    values = np.random.default_rng(1).normal(size=(4, 8)) + np.array([[0], [0], [2], [5]])
    values[1, 3] = NAN
    groups = [row[~np.isnan(row)] for row in values]
    found = layer_differences(values)
    overall = stats.kruskal(*groups)
    assert (found.statistic, found.p_value) == (overall.statistic, overall.pvalue)
    single = {pair: stats.mannwhitneyu(groups[pair[0]], groups[pair[1]]) for pair in combinations(range(4), 2)}
    corrected = holm(np.array([test.pvalue for test in single.values()]))
    assert [(pair.first, pair.second) for pair in found.pairs] == list(single)
    assert [pair.statistic for pair in found.pairs] == [test.statistic for test in single.values()]
    assert [pair.p_value for pair in found.pairs] == corrected.tolist()


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]], [[NAN, NAN], [1.0, 2.0]]])
def test_incomparable_layers_give_nan(values: list[list[float]]) -> None:
    found = layer_differences(np.array(values))
    assert math.isnan(found.statistic)
    assert math.isnan(found.p_value)
    assert found.pairs == ()


def test_layer_without_defined_heads_is_left_out() -> None:
    found = layer_differences(np.array([[1.0, 2.0], [NAN, NAN], [3.0, 4.0]]))
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 2)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 3, 2], [1, 2, 0]), ([2, NAN, 2, 3], [3, 0, 2]), ([NAN, NAN], []), ([[1, 4], [4, 0]], [1, 2, 0, 3])],
)
def test_ranking_keeps_ties_and_leaves_nan_out(values: list[float], expected: list[int]) -> None:
    assert ranking(np.array(values, dtype=float)).tolist() == expected


def test_rank_stability_of_small_rankings() -> None:
    first, second = np.array([4.0, 3, 2, 1, NAN]), np.array([4.0, 2, 3, 1, 9])
    found = rank_stability(first, second, top=2)
    assert found.kendall_tau == pytest.approx((5 - 1) / 6)
    assert found.jaccard == pytest.approx(1 / 3)
    same = rank_stability(first, first, top=3)
    assert (same.kendall_tau, same.jaccard) == (pytest.approx(1.0), 1.0)


def test_rank_stability_of_nothing_in_common_is_undefined() -> None:
    found = rank_stability(np.array([1.0, NAN]), np.array([NAN, 1.0]), top=1)
    assert math.isnan(found.kendall_tau)
    assert math.isnan(found.jaccard)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=8), st.integers(1, 8))
def test_tau_counts_pairs_that_agree(pairs: list[tuple[int, int]], top: int) -> None:
    first, second = np.array(pairs, dtype=float).T
    score, ties = 0.0, [0, 0]
    for (a, b), (c, d) in combinations(pairs, 2):
        score += np.sign(a - c) * np.sign(b - d)
        ties[0] += a != c
        ties[1] += b != d
    found = rank_stability(first, second, top=top)
    expected = score / math.sqrt(ties[0] * ties[1]) if all(ties) else NAN
    assert found.kendall_tau == pytest.approx(expected, nan_ok=True)
    assert 0 <= found.jaccard <= 1


@pytest.mark.parametrize(("heads", "top"), [(5, 2), (6, 3), (4, 4), (3, 5)])
def test_chance_jaccard_is_the_mean_over_all_sets(heads: int, top: int) -> None:
    first = set(range(min(top, heads)))
    others = [set(second) for second in combinations(range(heads), len(first))]
    expected = np.mean([len(first & second) / len(first | second) for second in others])
    assert chance_jaccard(heads, top) == pytest.approx(expected)


def test_halves_agree_on_signal_but_not_on_noise() -> None:
    random = np.random.default_rng(2)
    noise = random.normal(size=(60, 16, 32))
    clear = split_half_stability(noise * 0.01 + np.arange(512).reshape(16, 32), top=5)
    assert clear.kendall_tau.shape == clear.jaccard.shape == (20,)
    assert (clear.kendall_tau > 0.99).all()
    assert (clear.jaccard == 1).all()
    assert abs(split_half_stability(noise, top=5).kendall_tau.mean()) < 0.2


def test_halves_depend_on_the_seed_and_are_disjoint() -> None:
    values = np.random.default_rng(2).normal(size=(7, 6))
    first, again = split_half_stability(values, top=2), split_half_stability(values, top=2)
    assert np.array_equal(first.kendall_tau, again.kendall_tau)
    assert not np.array_equal(first.kendall_tau, split_half_stability(values, top=2, seed=1).kendall_tau)
    # Each half holds one of two samples that rank heads in opposite order.
    opposed = split_half_stability(np.array([[1.0, 2, 3], [3, 2, 1]]), top=1)
    assert (opposed.kendall_tau == -1).all()
    assert (opposed.jaccard == 0).all()
    assert np.isnan(split_half_stability(values[:1], top=2).kendall_tau).all()


def test_nanmean_does_not_warn(recwarn: pytest.WarningsRecorder) -> None:
    found = nanmean(np.array([[1, NAN, NAN], [3, 5, NAN]], dtype=np.float32))
    assert found.tolist() == pytest.approx([2, 5, NAN], nan_ok=True)
    assert found.dtype == np.float64
    assert not recwarn.list
