"""Head Impact (HI): the overlap of a head's attention and an object's mask. Owns both kinds and their chance levels.

HI was introduced by Sergeev & Kotelnikov, "Optimizing Multimodal Language Models through Attention-based
Interpretability" (arXiv 2511.23375): an intersection over union of a head's attention over image tokens and the
key-object mask. The binarisation of attention, soft HI, the treatment of ties and the chance levels are ours.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

from datasetkit.hi_scoring.scores.formulas.binarise import ascending

_FULL = 1e-6


def binary_hi(attention: Tensor, ranked: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    """Return the intersection over union of the most attended tokens and a mask, as an expectation over ties.

    Args:
        attention: (O | 1, H, N) float, at least 0; attention over a view's N tokens.
        ranked: the same, lowest first.
        mask: (O, N) bool, at least one token each.
        counts: (O, H, B) int64, number of tokens taken by each of B binarisations.

    Returns:
        (O, H, B) float64 in [0, 1].

    """
    tokens = attention.shape[-1]
    ranked = ranked.expand(*counts.shape[:2], tokens).contiguous()
    ranked_inside = ascending(torch.where(mask[:, None], attention, -torch.inf))
    cuts = ranked.gather(-1, tokens - counts.clamp(min=1))
    (above, at_least), (above_inside, at_least_inside) = (
        [tokens - torch.searchsorted(values, cuts, right=right) for right in (True, False)]
        for values in (ranked, ranked_inside)
    )
    return _expected_iou(
        sure_hits=above_inside,
        tied=at_least - above,
        tied_hits=at_least_inside - above_inside,
        drawn=(counts - above).clamp(min=0),
        sizes=counts + mask.sum(-1)[:, None, None],
    )


def binary_chance(tokens: int, mask: Tensor, counts: Tensor) -> Tensor:
    """Return the exact expectation of binary HI when ``counts`` of a view's tokens are drawn at random.

    Args:
        tokens: N, the view's tokens.
        mask: (O, N) bool, at least one token each.
        counts: (O, H) or (O, 1) int64, number of tokens taken.

    Returns:
        float64 of the shape of ``counts``.

    """
    mask_sizes = mask.sum(-1, keepdim=True).expand(counts.shape)
    return _expected_iou(
        sure_hits=torch.zeros_like(counts),
        tied=torch.full_like(counts, tokens),
        tied_hits=mask_sizes,
        drawn=counts,
        sizes=counts + mask_sizes,
    )


def lift(score: Tensor, chance: Tensor) -> Tensor:
    """Return a score rescaled so that chance is 0 and the best is 1; NaN (0 / 0) where chance is 1."""
    return (score - chance) / (1 - chance)


def soft_hi(attention: Tensor, coverage: Tensor) -> Tensor:
    """Return the Ruzicka similarity of attention and coverage, each normalised to sum 1 over the view.

    Args:
        attention: (H, rows, columns) float.
        coverage: (rows, columns) float, not all 0.

    Returns:
        (H,) float64 in [0, 1]; NaN for a head without attention on the view.

    """
    inside = coverage > 0
    share = coverage[inside].double() / coverage.sum(dtype=torch.float64)
    attended = attention[:, inside].double() / attention.sum(dim=(1, 2), dtype=torch.float64)[:, None]
    return _ruzicka(torch.minimum(attended, share).sum(dim=1))


def soft_chance(attention: Tensor, coverage: Tensor) -> Tensor:
    """Return the mean of soft HI over all cyclic shifts of the mask on its grid of rows x columns.

    Fully covered cells share one value, so their contribution to every shift comes from one FFT correlation; cells at
    the mask's edge are added one by one.

    Args:
        attention: (H, rows, columns) float.
        coverage: (rows, columns) float, not all 0.

    Returns:
        (H,) float64 in [0, 1], exact to about 1e-6; NaN for a head without attention on the view.

    """
    rows, columns = coverage.shape
    attention = (attention / attention.sum(dim=(1, 2), keepdim=True)).float()
    share = (coverage / coverage.sum()).float()
    top = float(share.max())
    full = share >= top * (1 - _FULL)
    spectrum = torch.fft.rfft2(attention.clamp(max=top)) * torch.fft.rfft2(full.float()).conj()
    common = torch.fft.irfft2(spectrum, s=(rows, columns)).permute(1, 2, 0).contiguous()
    doubled = attention.permute(1, 2, 0).repeat(2, 2, 1)
    edge = (share > 0) & ~full
    for row, column, value in zip(*(part.tolist() for part in (*edge.nonzero().T, share[edge])), strict=True):
        common += doubled[row : row + rows, column : column + columns].clamp(max=value)
    return _ruzicka(common).mean(dim=(0, 1), dtype=torch.float64)


def _ruzicka(shared: Tensor) -> Tensor:
    """Return minima over maxima from the sum of minima of two distributions; both sums together are 2."""
    shared = shared.clamp(0, 1)
    return shared / (2 - shared)


def _expected_iou(*, sure_hits: Tensor, tied: Tensor, tied_hits: Tensor, drawn: Tensor, sizes: Tensor) -> Tensor:
    """Return the expectation of hits / (sizes - hits), hits = sure hits + hits among ``drawn`` of the ``tied`` tokens.

    All are int64 of one shape; ``sizes`` is the sum of the sizes of both sets.
    """
    least = sure_hits + (drawn + tied_hits - tied).clamp(min=0)
    expected = least.double() / (sizes - least)
    open_ = least < sure_hits + torch.minimum(drawn, tied_hits)
    if open_.any():
        cases = torch.stack((sure_hits, tied, tied_hits, drawn, sizes), dim=-1)[open_].tolist()
        expected[open_] = expected.new_tensor([_hypergeometric_iou(*case) for case in cases])
    return expected


@lru_cache(maxsize=2**16)
def _hypergeometric_iou(sure_hits: int, tied: int, tied_hits: int, drawn: int, sizes: int) -> float:
    """Return the expectation over the number of hits, which is hypergeometric."""
    hits = np.arange(max(0, drawn + tied_hits - tied), min(drawn, tied_hits) + 1)
    logarithms = _log_choose(tied_hits, hits) + _log_choose(tied - tied_hits, drawn - hits)
    weights = np.exp(logarithms - logarithms.max())
    ious = (sure_hits + hits) / (sizes - sure_hits - hits)
    return float(weights @ ious / weights.sum())


def _log_choose(total: int, chosen: np.ndarray) -> np.ndarray:
    return gammaln(total + 1) - gammaln(chosen + 1) - gammaln(total - chosen + 1)
