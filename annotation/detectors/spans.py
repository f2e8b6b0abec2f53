"""Scores of phrases from scores of tokens. Owns which tokens belong to a phrase, by characters, never by decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.detections import FloatArray
from datasetkit.core.mask import BoolArray

Reduction = Literal["mean", "max"]
Span = tuple[int, int]


def span_tokens(offsets: Sequence[Span], spans: Sequence[Span]) -> BoolArray:
    """Return which tokens share a character with which span.

    Args:
        offsets: [start, end) of the characters of each token; start = end for special and padding tokens.
        spans: [start, end) of each phrase in the same text, code points.

    Returns:
        Shape (P, T), dtype bool.

    """
    starts, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    tokens = np.zeros((len(spans), len(starts)), dtype=np.bool_)
    for row, (start, end) in zip(tokens, spans, strict=True):
        row[:] = (starts < ends) & (starts < end) & (ends > start)
    return tokens


def span_scores(token_scores: NDArray[np.floating], tokens: BoolArray, reduction: Reduction) -> FloatArray:
    """Reduce scores of tokens to scores of phrases; a phrase without tokens scores 0.

    Each phrase is reduced separately, so that its score is bit-identical whatever other phrases there are.

    Args:
        token_scores: of each box for each token, shape (Q, T), range [0, 1].
        tokens: which tokens belong to which phrase, shape (P, T), dtype bool.
        reduction: ``mean`` or ``max`` over a phrase's tokens.

    Returns:
        Shape (Q, P), range [0, 1].

    """
    scores = np.zeros((len(token_scores), len(tokens)))
    for number, chosen in enumerate(tokens):
        if chosen.any():
            own = token_scores[:, chosen].astype(np.float64)
            scores[:, number] = own.mean(axis=1) if reduction == "mean" else own.max(axis=1)
    return scores
