"""Medians and losses: literal tables, and intervals compared with plain loops over the same draws."""

import numpy as np
import pytest

from datasetkit.hi_scoring.evaluation import shifts
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.sparse.estimates import loss, median, median_above
from datasetkit.hi_scoring.statistics import DRAWS, SEED, draw_counts

NAN = float("nan")


def answers(right: list[float], metric: str = "accuracy") -> Measured:
    return Measured(
        [str(place) for place in range(len(right))], {metric: np.column_stack([right, np.ones(len(right))])}
    )


def test_median_interval_resamples_images() -> None:
    values = np.array([2.0, 1.0, NAN, 4.0, 3.0, 8.0, 1.5, 9.0])
    images = ["a", "a", "a", "b", "c", "c", "d", "e"]
    found = median(values, images)
    owned = [[2.0, 1.0], [4.0], [3.0, 8.0], [1.5], [9.0]]
    drawn = [
        np.median([value for own, count in zip(owned, counts, strict=True) for value in own * int(count)])
        for counts in draw_counts(5, DRAWS, np.random.default_rng(SEED))
    ]
    assert found.value == 3.0
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert 1 < found.low < 3 < found.high < 9


@pytest.mark.parametrize(
    ("values", "images", "expected"),
    [
        ([], [], (NAN, NAN, NAN)),
        ([NAN, NAN], ["a", "b"], (NAN, NAN, NAN)),
        ([1.0, 3.0], ["a", "a"], (2.0, NAN, NAN)),
        ([2.0, 2.0, NAN], ["a", "b", "c"], (2.0, 2.0, 2.0)),
    ],
)
def test_fewer_than_two_images_have_no_interval(values, images, expected) -> None:
    assert median(np.array(values), images) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([NAN, 5.0, 6.0], 5.0),
        ([NAN, NAN, 6.0], NAN),
        ([NAN, 5.0, 6.0, 8.0], 5.5),
        ([NAN, NAN, 6.0, 8.0], NAN),
        # It may be anything from 0 to 4, so it may be the median.
        ([NAN, 1.0, 6.0], NAN),
    ],
)
def test_median_is_known_if_unseen_values_do_not_matter(values, expected) -> None:
    assert median_above(np.array(values), np.full(len(values), 4.0)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("metric", "dense", "sparse", "expected"),
    [
        ("accuracy", [1, 1, 1, 1, 0], [1, 1, 1, 0, 0], 0.25),
        ("accuracy", [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], -1.0),
        ("accuracy", [0, 0, 0], [1, 0, 0], NAN),
        # Where lower is better, the loss is computed on 1 minus the figure: here 0.8, of which 0.2 is lost.
        ("hallucination", [0, 0, 0, 0, 1], [0, 0, 0, 1, 1], 0.25),
        ("hallucination", [1, 1], [0, 1], NAN),
    ],
)
def test_loss_is_relative_to_dense(metric, dense, sparse, expected) -> None:
    found = loss(metric, answers(dense, metric), answers(sparse, metric))
    assert found.value == pytest.approx(expected, nan_ok=True)
    assert np.isnan(found.low) == np.isnan(expected)


def test_both_figures_of_a_draw_use_equal_images() -> None:
    """If each image loses half, every draw loses half, however small its figure is."""
    dense = np.array([1.0, 0.2, 0.6, 0.0])
    found = loss("accuracy", answers(list(dense)), answers(list(dense / 2)))
    assert found == pytest.approx((0.5, 0.5, 0.5))


def test_each_end_of_a_loss_is_a_bound_of_95_percent() -> None:
    dense, sparse = [1.0, 0.9, 0.8, 1.0, 0.7], [0.5, 0.9, 0.9, 0.2, 0.6]
    found = loss("accuracy", answers(dense), answers(sparse))
    counts = draw_counts(5, shifts.DRAWS, np.random.default_rng(SEED))
    lost = 1 - (counts @ sparse) / (counts @ dense)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(lost, [0.05, 0.95])), rel=1e-5)


def test_one_sample_has_no_interval() -> None:
    assert loss("accuracy", answers([1.0]), answers([0.5])) == pytest.approx((0.5, NAN, NAN), nan_ok=True)
