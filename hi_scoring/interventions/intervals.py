"""Mean curves over questions with 95 % intervals. Owns that images are resampled, each with all of its questions.

Questions about one image are not independent of each other; resampling them one by one would make intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datasetkit.hi_scoring.evaluation.metrics import ratio
from datasetkit.hi_scoring.statistics import DRAWS, SEED, FloatArray, draw_counts

_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """The mean over questions at each of C layers; all fields (C,) float64, NaN where no question has a value.

    Args:
        mean: over the questions that have a value.
        low: lower end of the pointwise interval of each layer; NaN where fewer than two images have a value.
        high: its upper end.
        band_low: lower end of the simultaneous intervals, which hold for all layers at once, and so for a layer that is
            chosen by its mean.
        band_high: their upper end.

    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    band_low: FloatArray
    band_high: FloatArray


def mean_curves(curves: Mapping[str, FloatArray], images: Sequence[str]) -> dict[str, MeanCurve]:
    """Return mean curves over questions.

    Intervals come from the bootstrap over images: percentiles for each layer; and bands around the mean whose width, in
    standard errors, is the 95 % quantile of the largest deviation of a draw over layers.

    Args:
        curves: by name, (n, C) float each; a question without a value is NaN at all layers.
        images: image id of each of the n questions, at least one.

    """
    sums = {name: by_image(values, images) for name, values in curves.items()}
    counts = draw_counts(len(set(images)), DRAWS, np.random.default_rng(SEED)).astype(np.float64)
    return {name: _mean_curve(of, counts) for name, of in sums.items()}


def by_image(values: FloatArray, images: Sequence[str]) -> FloatArray:
    """Sum the questions of each image.

    Args:
        values: (n, C) float, NaN where a question has no value.
        images: image id of each of the n questions.

    Returns:
        (images, C, 2) float64: sums of the values, and their number. Ratios of both sums over images are means over
        questions.

    """
    _, places = np.unique(np.array(images), return_inverse=True)
    there = ~np.isnan(values)
    sums = np.zeros((places.max() + 1, values.shape[1], 2))
    np.add.at(sums, places, np.stack([np.where(there, values, 0), there], axis=-1))
    return sums


def _mean_curve(sums: FloatArray, counts: FloatArray) -> MeanCurve:
    """Estimate a curve from (P, C, 2) sums, given how often each image is in each draw, (draws, P)."""
    mean = ratio(sums.sum(axis=0))
    images = np.count_nonzero(sums[..., 1].any(axis=1))
    if images < 2:
        return MeanCurve(mean, *np.full((4, len(mean)), np.nan))
    drawn = ratio(np.tensordot(counts, sums, axes=1))
    # A draw of images without a value is ignored.
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    spread = drawn.std(axis=0)
    away = np.divide(np.abs(drawn - mean), spread, out=np.zeros_like(drawn), where=spread > 0).max(axis=1)
    # Resampling underestimates the variance of P images by the factor (P - 1) / P.
    margin = np.quantile(away, _LEVEL) * spread * np.sqrt(images / (images - 1))
    return MeanCurve(mean, low, high, mean - margin, mean + margin)
