"""Binarisation of attention and coverage."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.hi_scoring.scores.formulas.binarise import ascending, object_tokens, taken_counts
from datasetkit.options.heads import BINARISATIONS, Binarisation
from tests.hi_scoring.scores.formulas import references

# Sums and products of such values are exact, so both sides find the same ties.
levels = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("coverage", "expected"),
    [
        ([0.5, 0.49, 1.0], [True, False, True]),
        ([0.1, 0.3, 0.2], [False, True, False]),  # none reaches half: the best-covered one
        ([0.1, 0.3, 0.3], [False, True, False]),  # the first of equal ones
        ([0.0, 0.0, 0.0], [False, False, False]),
    ],
)
def test_object_tokens_are_covered_or_best_covered(coverage: list[float], expected: list[bool]) -> None:
    assert object_tokens(torch.tensor([[coverage]]), 0.5).tolist() == [[expected]]


def test_each_object_falls_back_separately() -> None:
    coverage = torch.tensor([[[0.2, 0.1], [0.0, 0.0]], [[0.0, 0.7], [0.9, 0.2]]])
    assert object_tokens(coverage, 0.5).int().tolist() == [[[1, 0], [0, 0]], [[0, 1], [1, 0]]]


def test_ascending_sorts_the_last_axis_lowest_first() -> None:
    assert ascending(torch.tensor([[[0.1, 0.3, 0.2]]])).tolist() == [[[pytest.approx(v) for v in (0.1, 0.2, 0.3)]]]


@pytest.mark.parametrize(
    ("values", "binarisation", "count"),
    [
        ([4, 3, 2, 1], "top_area", 3),
        ([4, 3, 2, 1], "mean", 2),
        ([9, 1, 1, 1], "mean", 1),
        ([2, 2, 2, 2], "mean", 0),
        ([0.1] * 100, "mean", 0),  # their mean must not be rounded below each of them
        (list(range(10, 0, -1)), "quantile", 1),
        (list(range(20, 0, -1)), "quantile", 2),
        ([3, 2, 1], "quantile", 1),
        ([9, 8, 1, 1, 1], "otsu", 2),
        ([2, 1, 0], "otsu", 1),  # both thresholds separate equally well: the higher one
        ([2, 2, 2], "otsu", 0),
        ([5], "otsu", 0),
    ],
)
def test_taken_token_counts(values: list[float], binarisation: Binarisation, count: int) -> None:
    ranked = ascending(torch.tensor([[values]], dtype=torch.float32))
    assert taken_counts(ranked, torch.tensor([[3]]), binarisation, 0.9).expand(1, 1).tolist() == [[count]]


def test_quantile_is_robust_to_rounding() -> None:
    ranked = torch.arange(100.0)[None, None]
    assert int(taken_counts(ranked, torch.tensor([[3]]), "quantile", 0.29)) == 71


@given(levels, st.sampled_from(BINARISATIONS), st.sampled_from([0.1, 0.29, 0.5, 0.9]))
def test_counts_equal_the_loop(values: list[float], binarisation: Binarisation, quantile: float) -> None:
    size = min(3, len(values))
    found = taken_counts(ascending(torch.tensor([[values]])), torch.tensor([[size]]), binarisation, quantile)
    assert int(found) == references.taken_count(values, size, binarisation, quantile)
