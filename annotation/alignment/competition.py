"""Which mention gets which instance where scores tell them apart. Owns the assignment of instances to mentions by fit.

Mentions that introduce something new must name different things ("a man and a woman"), so they are assigned together:
the best assignment has the largest sum of fits. What it assigns to a mention is settled if every assignment that takes
part of it away is worse by a margin. Scores that are closer settle nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasetkit.annotation.alignment.mentions import Mention

_Fits = NDArray[np.float64]
# Sums of the same fits in a different order differ only beyond these digits.
_DIGITS = 9


def settle(mentions: Sequence[Mention], fit: _Fits, is_crowd: NDArray[np.bool_], margin: float) -> _Fits:
    """Remove fits that the scores rule out.

    A settled mention keeps only the fit of the instances assigned to it, and no other new mention keeps a fit for them.
    Plurals without a number ("cats") are left as they are, and so is the fit of crowd regions, which many may share.

    Args:
        mentions: M of them.
        fit: shape (M, N), range [0, 1]; 0 where it does not fit.
        is_crowd: shape (N,).
        margin: how much worse the sum of fits must be without what is assigned to a mention.

    Returns:
        shape (M, N).

    """
    left = fit.copy()
    single = np.where(is_crowd, 0.0, fit)
    new = _new_mentions(mentions)
    for index, gets in _settled(single, new, [mentions[index].demand or 0 for index in new], margin):
        left[index, ~gets & ~is_crowd] = 0.0
        for place in new:
            if place != index:
                left[place, gets] = 0.0
    for index, mention in enumerate(mentions):
        if mention.demand and index not in new:
            for _, gets in _settled(np.where(is_crowd, 0.0, left), [index], [mention.demand], margin):
                left[index, ~gets & ~is_crowd] = 0.0
    return left


def _new_mentions(mentions: Sequence[Mention]) -> list[int]:
    """Return the indices of numbered mentions that cannot refer to what an earlier one names ("another cat")."""
    new: list[int] = []
    names: set[str] = set()
    for index, mention in enumerate(mentions):
        if mention.demand and (mention.other or not (mention.definite or mention.name in names)):
            new.append(index)
            names.add(mention.name)
    return new


def _settled(
    fit: _Fits, rows: Sequence[int], demands: Sequence[int], margin: float
) -> list[tuple[int, NDArray[np.bool_]]]:
    """Return the rows whose part of the best assignment stands out, each with its instances, shape (N,), dtype bool."""
    worth = fit[list(rows)]
    sizes = [min(demand, int(np.count_nonzero(row))) for demand, row in zip(demands, worth, strict=True)]
    best, gets = _assign(worth, sizes)
    settled = []
    for place, index in enumerate(rows):
        taken = np.flatnonzero(gets[place]).tolist()
        losses = [best - _without(worth, sizes, place, item) for item in taken]
        if losses and round(min(losses), _DIGITS) > margin:
            settled.append((index, gets[place]))
    return settled


def _without(worth: _Fits, sizes: Sequence[int], row: int, item: int) -> float:
    """Return the best sum if a row may not get one of its instances."""
    changed = worth.copy()
    changed[row, item] = 0.0
    return _assign(changed, sizes)[0]


def _assign(worth: _Fits, sizes: Sequence[int]) -> tuple[float, NDArray[np.bool_]]:
    """Assign each row at most so many columns, no column twice; return the largest sum and each row's columns."""
    from scipy.optimize import linear_sum_assignment  # slow to import; an error in the arguments should come first

    slots = np.repeat(np.arange(len(worth)), sizes)
    rows, columns = linear_sum_assignment(worth[slots], maximize=True)
    gets = np.zeros(worth.shape, dtype=np.bool_)
    gets[slots[rows], columns] = worth[slots[rows], columns] > 0.0
    return float(worth[gets].sum()), gets
