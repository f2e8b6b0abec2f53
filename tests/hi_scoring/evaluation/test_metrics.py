"""Statistics of samples and the figures that follow from them."""

import math

import numpy as np
import pytest

from datasetkit.core.errors import RecordError, UnknownNameError
from datasetkit.hi_scoring.evaluation.captions import caption_statistics
from datasetkit.hi_scoring.evaluation.metrics import METRICS, Measured, find_metric, ratio

TWO = np.array([[1.0, 2.0], [0.0, 0.0]])


def test_ratios_are_of_sums_and_nan_for_zero() -> None:
    sums = np.array([[[1.0, 4.0], [0.0, 0.0]], [[0.0, 5.0], [3.0, 3.0]]])
    np.testing.assert_array_equal(ratio(sums), [[0.25, np.nan], [0, 1]])


def test_every_metric_reduces_any_number_of_draws() -> None:
    for metric in METRICS.values():
        assert metric.reduce(np.ones((7, 3, metric.columns))).shape == (7, 3)
        assert math.isnan(float(metric.reduce(np.zeros(metric.columns))))
    assert [metric.name for metric in METRICS.values() if not metric.higher_is_better] == ["hallucination"]


def test_captions_have_statistics_of_their_metrics() -> None:
    captions = ["a red cat on a mat", "two dogs"]
    measured = Measured(("a", "b"), caption_statistics(captions, [[caption] for caption in captions]))
    assert measured.figure("bleu4") == pytest.approx(1)
    assert measured.figure("rouge_l") == pytest.approx(1)
    assert measured.figure("cider") == pytest.approx((10 + 5) / 2)  # "two dogs" has no n-grams of three and four words


def test_accuracy_of_a_type_is_a_metric() -> None:
    metric = find_metric("accuracy:choose: colour")
    assert (metric.name, metric.label) == ("accuracy:choose: colour", "Right answers, choose: colour")
    assert metric.reduce is METRICS["accuracy"].reduce


@pytest.mark.parametrize("name", ["bleu", "bleu4:x", "accuracy:", "recall:x"])
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"known: bleu4, rouge_l, .*accuracy:TYPE"):
        find_metric(name)


def test_a_run_gives_figures_and_counts() -> None:
    measured = Measured(("a", "b"), {"accuracy": TWO, "accuracy:colour": np.zeros((2, 2))})
    assert (measured.figure("accuracy"), measured.n("accuracy")) == (0.5, 1)
    assert math.isnan(measured.figure("accuracy:colour"))
    assert measured.n("accuracy:colour") == 0
    with pytest.raises(UnknownNameError, match="cider was not measured; measured: accuracy, accuracy:colour"):
        measured.figure("cider")


def test_rows_of_one_sample_add_up() -> None:
    rows = np.array([[1.0, 2], [0, 1], [0, 0], [1, 1]])
    measured = Measured.joining(["b", "a", "c", "b"], {"accuracy": rows, "hallucination": rows * 2})
    assert list(measured.sample_ids) == ["b", "a", "c"]
    assert measured.statistics["accuracy"].tolist() == [[2, 3], [0, 1], [0, 0]]
    assert measured.statistics["hallucination"].tolist() == [[4, 6], [0, 2], [0, 0]]
    assert (measured.figure("accuracy"), measured.n("accuracy")) == (2 / 4, 2)


@pytest.mark.parametrize(
    ("ids", "name", "rows", "error", "message"),
    [
        (("a", "a"), "accuracy", TWO, RecordError, "twice"),
        (("a",), "accuracy", TWO, RecordError, r"shape \(2, 2\); give \(1, 2\)"),
        (("a", "b"), "bleu4", TWO, RecordError, r"shape \(2, 2\); give \(2, 10\)"),
        (("a", "b"), "accuracy", TWO * [1, np.nan], RecordError, "not all finite"),
        (("a", "b"), "speed", TWO, UnknownNameError, "no metric is called 'speed'"),
    ],
)
def test_unfitting_statistics_are_refused(
    ids: tuple[str, ...], name: str, rows: np.ndarray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Measured(ids, {name: rows})
