"""Prompts as sparse heads see them. Owns which tokens all rows see, and whether seeing no more saves anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.errors import ModelError

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prompt:
    """One row of a batch, without its padding.

    Args:
        start: slot of its first token.
        stop: slot after its last token.
        end: slot after the last token that follows it, which is ``stop`` where none does.
        shared: tokens that every row of it from them on sees, text and sink, counted from ``start``, rising:
            (S,) int64.
        visible: share of the pairs of row and earlier or same key that a sparse head sees, in [0, 1]; 1 of an empty
            prompt.

    """

    start: int
    stop: int
    end: int
    shared: NDArray[np.int64]
    visible: float

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return self.stop - self.start


def image_tokens(model: Any) -> list[int]:
    """Give the ids that stand for parts of images and films.

    Raises:
        ModelError: the model's configuration names none.

    """
    names = ("image_token_id", "video_token_id")
    found = [number for name in names if (number := getattr(model.config, name, None)) is not None]
    if not found:
        raise ModelError(f"the configuration of {type(model).__name__} has no image_token_id; give a model of images")
    return found


def prompts_of(
    ids: NDArray[np.int64],
    real: BoolArray,
    images: Sequence[int],
    sink: int,
    window: int,
    slots: int | None = None,
) -> tuple[Prompt, ...] | None:
    """Find the prompts of a batch.

    Args:
        ids: of its tokens, (B, N).
        real: which tokens are no padding, (B, N).
        images: ids that stand for parts of images; all others are text.
        sink: first tokens that every row sees.
        window: tokens that a row sees up to itself.
        slots: of the batch that prompts are in, where others follow; None for all.

    Returns:
        B of them; None where the tokens of one do not stand side by side.

    """
    found = []
    for is_text, is_real in zip(~np.isin(ids, images), real, strict=True):
        places = np.flatnonzero(is_real)
        start, end = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
        if end - start != len(places):
            return None
        stop = end if slots is None else max(start, min(slots, end))
        is_shared = is_text[start:stop].copy()
        is_shared[:sink] = True
        found.append(Prompt(start, stop, end, np.flatnonzero(is_shared), _visible(is_shared, window)))
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
