"""Scores of phrases from scores of tokens. Owns which tokens are a phrase's, by characters and never by decoding."""

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
    """Tell which tokens share a character with which span.

    Args:
        offsets: of each token, the [start, end) of its characters; special and padding tokens have none (start = end).
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

    Each phrase is reduced by itself, so that its score is the same to the last bit whatever other phrases there are.

    Args:
        token_scores: of each box for each token, shape (Q, T), range [0, 1].
        tokens: which tokens are which phrase's, shape (P, T), dtype bool.
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
