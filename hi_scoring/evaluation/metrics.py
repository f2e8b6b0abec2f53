"""Metrics of a model's responses, and the values of one run. Owns how statistics of samples become a figure.

Every metric has S numbers for each sample, zeros where the sample has no value, and its figure follows from their sums
over samples. So the figure of any set of samples, also of resampled ones, is computed without reading a text again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.errors import BuiltFolderError, RecordError, UnknownNameError
from datasetkit.hi_scoring.evaluation.captions import bleu4
from datasetkit.hi_scoring.statistics import FloatArray


@dataclass(frozen=True)
class Metric:
    """A figure of a set of samples.

    Args:
        name: the key of its statistics.
        label: the name shown to people.
        higher_is_better: whether a better model has a higher figure.
        columns: S, the number of values per sample.
        reduce: converts sums over samples, (..., S), into figures, (...); NaN where nothing was measured.

    """

    name: str
    label: str
    higher_is_better: bool
    columns: int
    reduce: Callable[[FloatArray], FloatArray]


def ratio(sums: FloatArray) -> FloatArray:
    """Divide the first of two sums, (..., 2), by the second; NaN where that is 0."""
    with np.errstate(invalid="ignore"):
        return sums[..., 0] / sums[..., 1]


METRICS = {
    metric.name: metric
    for metric in (
        Metric("bleu4", "BLEU-4", True, 10, bleu4),
        Metric("rouge_l", "ROUGE-L", True, 2, ratio),
        Metric("cider", "CIDEr", True, 2, ratio),
        Metric("key_precision", "Named objects that are there", True, 2, ratio),
        Metric("key_recall", "Key objects that are named", True, 2, ratio),
        Metric("hallucination", "Captions that name something absent", False, 2, ratio),
        Metric("accuracy", "Right answers", True, 2, ratio),
        Metric("answer_probability", "Probability of the right answer", True, 2, ratio),
    )
}


def find_metric(name: str) -> Metric:
    """Return a metric of ``METRICS``, or ``accuracy:TYPE``, which is the accuracy over questions of one type.

    Raises:
        UnknownNameError: no metric has that name; the message lists those that exist.

    """
    if name in METRICS:
        return METRICS[name]
    base, _, kind = name.partition(":")
    if base != "accuracy" or not kind:
        raise UnknownNameError(f"no metric is called {name!r}; known: {', '.join(METRICS)}, accuracy:TYPE")
    accuracy = METRICS["accuracy"]
    return Metric(name, f"{accuracy.label}, {kind}", accuracy.higher_is_better, accuracy.columns, accuracy.reduce)


@dataclass(frozen=True, eq=False)
class Measured:
    """The statistics of every sample from one run of a model.

    Args:
        sample_ids: ids of the n samples, each once; samples are the units of resampling, so images rather than records.
        statistics: for each metric, (n, S) float64.

    Raises:
        RecordError: an id occurs twice, a shape does not fit, or numbers are not finite.
        UnknownNameError: statistics of an unknown metric.

    """

    sample_ids: Sequence[str]
    statistics: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        if len(set(self.sample_ids)) != len(self.sample_ids):
            raise RecordError("a sample was measured twice; give each id once")
        for name, rows in self.statistics.items():
            expected = (len(self.sample_ids), find_metric(name).columns)
            if rows.shape != expected:
                raise RecordError(f"statistics of {name} have shape {rows.shape}; give {expected}: (samples, numbers)")
            if not np.isfinite(rows).all():
                raise RecordError(f"statistics of {name} are not all finite; give zeros where a sample has no value")

    @property
    def metrics(self) -> list[str]:
        """The names of the measured metrics, those of ``METRICS`` first."""
        there = self.statistics
        return [name for name in METRICS if name in there] + sorted(name for name in there if name not in METRICS)

    @classmethod
    def joining(cls, sample_ids: Sequence[str], statistics: Mapping[str, FloatArray]) -> Measured:
        """Add up the rows of each sample: every figure sums them anyway.

        Args:
            sample_ids: ids of m rows, that of a sample as often as it has rows.
            statistics: for each metric, (m, S) float64.

        """
        places = {sample: place for place, sample in enumerate(dict.fromkeys(sample_ids))}
        of_rows = [places[sample] for sample in sample_ids]
        joined = {name: np.zeros((len(places), rows.shape[1])) for name, rows in statistics.items()}
        for name, rows in statistics.items():
            np.add.at(joined[name], of_rows, rows)
        return cls(list(places), joined)

    def of(self, name: str) -> FloatArray:
        """Return the statistics of a metric, shape (n, S).

        Raises:
            UnknownNameError: it was not measured.

        """
        if name not in self.statistics:
            raise UnknownNameError(f"{name} was not measured; measured: {', '.join(self.statistics)}")
        return self.statistics[name]

    def figure(self, name: str) -> float:
        """Return a metric's figure over all samples; NaN if none has a value."""
        return float(find_metric(name).reduce(self.of(name).sum(axis=0)))

    def n(self, name: str) -> int:
        """Count the samples that have a value."""
        return int(np.count_nonzero(self.of(name).any(axis=1)))


def measured_of(path: Path, sample_ids: Sequence[str], arrays: Mapping[str, NDArray[Any]], again: str) -> Measured:
    """Build measurements from arrays that were read from a file; ``again`` says what to do if they are damaged.

    Raises:
        BuiltFolderError: they do not fit these samples, or belong to unknown metrics.

    """
    try:
        return Measured(sample_ids, {name: rows.astype(np.float64) for name, rows in arrays.items()})
    except (RecordError, UnknownNameError) as error:
        raise BuiltFolderError(f"{path} is damaged: {error}; {again}") from error
