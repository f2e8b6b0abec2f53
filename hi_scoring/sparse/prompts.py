"""Prompts as sparse heads see them. Owns which tokens all rows see, and whether seeing no more saves anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prompt:
    """One row of a batch, without its padding.

    Args:
        start: slot of its first token.
        stop: slot after its last token.
        shared: tokens that every row from them on sees, text and sink, counted from ``start``, rising: (S,) int64.
        visible: share of the pairs of row and earlier or same key that a sparse head sees, in [0, 1]; 1 of an empty
            prompt.

    """

    start: int
    stop: int
    shared: NDArray[np.int64]
    visible: float

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return self.stop - self.start


def prompts_of(text: BoolArray, real: BoolArray, sink: int, window: int) -> tuple[Prompt, ...] | None:
    """Find the prompts of a batch.

    Args:
        text: which tokens are text, neither image nor padding, (B, N).
        real: which tokens are no padding, (B, N).
        sink: first tokens that every row sees.
        window: tokens that a row sees up to itself.

    Returns:
        B of them; None where the tokens of one do not stand side by side.

    """
    found = []
    for is_text, is_real in zip(text, real, strict=True):
        slots = np.flatnonzero(is_real)
        start, stop = (int(slots[0]), int(slots[-1]) + 1) if len(slots) else (0, 0)
        if stop - start != len(slots):
            return None
        is_shared = is_text[start:stop].copy()
        is_shared[:sink] = True
        found.append(Prompt(start, stop, np.flatnonzero(is_shared), _visible(is_shared, window)))
    return tuple(found)


def _visible(is_shared: BoolArray, window: int) -> float:
    """Share of pairs that are seen: shared keys up to each row, and the others of its window."""
    length = len(is_shared)
    if not length:
        return 1.0
    others = np.concatenate([[0], np.cumsum(~is_shared)])
    rows = np.arange(length)
    seen = np.cumsum(is_shared) + others[1:] - others[np.maximum(rows + 1 - window, 0)]
    return float(seen.sum() / (length * (length + 1) / 2))
