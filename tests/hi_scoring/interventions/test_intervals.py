"""Mean curves: weights of images with several questions, and coverage of bands and intervals without effects."""

from __future__ import annotations

import numpy as np
import pytest

from datasetkit.hi_scoring.evaluation.metrics import ratio
from datasetkit.hi_scoring.interventions.intervals import by_image, mean_curves
from datasetkit.hi_scoring.statistics import bootstrap_interval

NAN = np.nan


def test_questions_are_summed_by_image() -> None:
    values = np.array([[1.0, 2.0], [NAN, 4.0], [5.0, 6.0]])
    sums = by_image(values, ["b", "a", "b"])
    assert sums.tolist() == [[[0, 0], [4, 1]], [[6, 2], [8, 2]]]
    assert np.array_equal(ratio(sums), [[NAN, 4], [3, 4]], equal_nan=True)
    assert ratio(sums.sum(axis=0)).tolist() == [3, 4]


def test_questions_of_one_image_count_once() -> None:
    values = np.random.default_rng(0).normal(size=(7, 3))
    names = list("abcdefg")
    one = mean_curves({"change": values}, names)["change"]
    low, high = bootstrap_interval(values)
    assert one.low == pytest.approx(low)
    assert one.high == pytest.approx(high)
    # With three questions each, the number of images is the same.
    thrice = mean_curves({"change": np.repeat(values, 3, axis=0)}, np.repeat(names, 3).tolist())["change"]
    for end in ("mean", "low", "high", "band_low", "band_high"):
        assert getattr(thrice, end) == pytest.approx(getattr(one, end))


def test_six_questions_on_two_images_vary_as_two() -> None:
    """Their means are 0.52 and 2.47, and a draw contains both, or one of them twice."""
    values = np.array([0.01, 0.55, 1.0, 1.45, 2.0, 3.96])[:, None]
    found = mean_curves({"p": values}, ["a", "a", "a", "b", "b", "b"])["p"]
    assert found.low[0] == pytest.approx(0.52)
    assert found.high[0] == pytest.approx(7.41 / 3)


def test_questions_without_a_value_are_left_out() -> None:
    values = np.array([[1.0, 3.0], [NAN, NAN], [2.0, 5.0], [NAN, NAN], [4.0, 4.0]])
    curves = mean_curves({"some": values, "none": np.full((5, 2), NAN)}, ["a", "a", "b", "c", "d"])
    some, none = curves["some"], curves["none"]
    assert some.mean == pytest.approx([7 / 3, 4])
    assert ((some.low < some.mean) & (some.mean < some.high)).all()
    for end in ("mean", "low", "high", "band_low", "band_high"):
        assert np.isnan(getattr(none, end)).all()
    alone = mean_curves({"some": values}, ["a", "a", "a", "c", "a"])["some"]
    assert alone.mean == pytest.approx([7 / 3, 4])
    assert np.isnan([alone.low, alone.high, alone.band_low, alone.band_high]).all()


def test_equal_values_have_no_width() -> None:
    found = mean_curves({"change": np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 4.0]])}, ["a", "b", "c"])["change"]
    assert (found.band_low[0], found.band_high[0]) == (0, 0)
    assert found.band_low[1] < found.mean[1] < found.band_high[1]


def test_bands_hold_for_a_picked_layer() -> None:
    """No effect at all: 60 times 30 images with two questions, 24 layers, of which the lowest is picked."""
    random = np.random.default_rng(0)
    names = np.repeat([f"image {place}" for place in range(30)], 2).tolist()
    wrong = np.zeros(2)
    for _ in range(60):
        values = np.repeat(random.normal(size=(30, 24)), 2, axis=0) + random.normal(size=(60, 24))
        found = mean_curves({"change": values}, names)["change"]
        picked = found.mean.argmin()
        wrong += [found.high[picked] < 0, found.band_high[picked] < 0]
    pointwise, band = wrong / 60
    assert pointwise > 0.25
    assert band <= 0.08
