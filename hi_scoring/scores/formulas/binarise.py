"""Binarise attention and coverage. Owns the thresholds of both.

Attention is binarised by rank: each binarisation returns how many of a view's tokens are taken, the highest first. Ties
at the threshold are not resolved here; :mod:`datasetkit.hi_scoring.scores.formulas.overlap` computes the expectation
over the choices.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from datasetkit.options.heads import Binarisation

_ROUNDING = 1e-9


def object_tokens(coverage: Tensor, coverage_min: float) -> Tensor:
    """Return which tokens belong to an object: those covered enough, or the best-covered one if none is.

    Args:
        coverage: (O, rows, columns) float, share in [0, 1] of each token's image area that is inside the mask.
        coverage_min: minimum share, in (0, 1].

    Returns:
        (O, rows, columns) bool; all False for an object without any coverage. Of equally covered tokens the first in
        reading order is the best.

    """
    flat = coverage.flatten(1)
    enough = flat >= coverage_min
    most, best = flat.max(dim=1)
    missing = ~enough.any(dim=1) & (most > 0)
    fallback = torch.zeros_like(enough).scatter_(1, best[:, None], missing[:, None])
    return (enough | fallback).reshape(coverage.shape)


def ascending(attention: Tensor) -> Tensor:
    """Return the last axis sorted, lowest first. On the CPU numpy sorts about thirty times faster than torch."""
    if attention.device.type != "cpu":
        return attention.sort(dim=-1).values
    return torch.from_numpy(np.sort(attention.numpy(), axis=-1))


def taken_counts(ranked: Tensor, mask_sizes: Tensor, binarisation: Binarisation, quantile: float) -> Tensor:
    """Return the number of tokens that a binarisation takes in each view.

    Args:
        ranked: (..., N) float, attention over a view's N tokens, lowest first.
        mask_sizes: (O, 1) int64, number of tokens of each object's mask.
        binarisation: ``top_area`` takes as many as the mask has, ``mean`` those above the mean, ``quantile`` all but
            ``floor(quantile N)``, ``otsu`` those above the best separating threshold (Otsu, "A Threshold Selection
            Method from Gray-Level Histograms", 1979), computed on the values instead of a histogram.
        quantile: in (0, 1).

    Returns:
        int64 that broadcasts to (O, H): 0 if nothing is above the threshold, for example in uniform attention.

    """
    tokens = ranked.shape[-1]
    if binarisation == "top_area":
        return mask_sizes
    if binarisation == "quantile":
        return torch.full_like(mask_sizes, tokens - int(quantile * tokens + _ROUNDING))
    if binarisation == "mean":
        mean = ranked.mean(dim=-1, keepdim=True, dtype=torch.float64)
        return (ranked > mean).sum(dim=-1)
    return _otsu_counts(ranked)


def _otsu_counts(ranked: Tensor) -> Tensor:
    """Split (..., N) values where the variance between both classes is greatest; equal values stay together."""
    tokens = ranked.shape[-1]
    if tokens == 1:
        return torch.zeros(ranked.shape[:-1], dtype=torch.int64, device=ranked.device)
    ranked = ranked.flip(-1)
    sums = ranked.cumsum(dim=-1, dtype=torch.float64)
    above = torch.arange(1, tokens, device=ranked.device, dtype=torch.float64)
    difference = sums[..., :-1] * tokens - sums[..., -1:] * above  # mean above minus the mean of all, scaled
    between = difference.square() / (above * (tokens - above))
    between = torch.where(ranked[..., :-1] > ranked[..., 1:], between, -1.0)
    best, index = between.max(dim=-1)
    return torch.where(best < 0, 0, index + 1)
