"""Prompts as sparse heads see them. Owns which tokens all rows see, and how much a sparse head sees."""

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
        end: slot after the last token that follows it; ``stop`` if none follows.
        shared: tokens that every later row sees, text and sink, counted from ``start``, ascending: (S,) int64.
        visible: share of the pairs of row and earlier or same key that a sparse head sees, in [0, 1]; 1 for an empty
            prompt.

    """

    start: int
    stop: int
    end: int
    shared: NDArray[np.int64]
    visible: float

    @property
    def length(self) -> int:
        """The number of its tokens."""
        return self.stop - self.start


def image_tokens(model: Any) -> list[int]:
    """Return the ids that stand for parts of images and videos.

    Raises:
        ModelError: the model's configuration names none.

    """
    names = ("image_token_id", "video_token_id")
    found = [number for name in names if (number := getattr(model.config, name, None)) is not None]
    if not found:
        raise ModelError(f"the configuration of {type(model).__name__} has no image_token_id; use a model of images")
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
        ids: ids of its tokens, (B, N).
        real: which tokens are not padding, (B, N).
        images: ids that stand for parts of images; all others are text.
        sink: number of first tokens that every row sees.
        window: number of tokens that a row sees up to itself.
        slots: number of slots that belong to prompts, if other tokens follow; None for all.

    Returns:
        B prompts; None if the tokens of one are not contiguous.

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
    """Return the share of visible pairs: shared keys up to each row, and the others of its window."""
    length = len(is_shared)
    if not length:
        return 1.0
    others = np.concatenate([[0], np.cumsum(~is_shared)])
    rows = np.arange(length)
    seen = np.cumsum(is_shared) + others[1:] - others[np.maximum(rows + 1 - window, 0)]
    return float(seen.sum() / (length * (length + 1) / 2))
