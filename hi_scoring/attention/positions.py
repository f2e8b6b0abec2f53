"""Means of attention rows over chosen positions. Owns the reduction that all head scores start from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention.call import AttentionCall
from datasetkit.hi_scoring.attention.parts import Reader


class PositionReader(Reader):
    """Reduces each layer's rows to weighted sums immediately, so that the attention need not be kept.

    Args:
        rows: slots of the queries, shape (B, R), int64; -1 = none. Each slot at most once per sample.
        weights: weight of each row in each of S sums, shape (B, S, R); a mean over T rows has 1 / T at each of them.
        columns: slots of the keys, shape (B, M), int64; -1 = none.
        sink: called with the layer and the sums, float32, shape (B, H, S, M); 0 for -1 and for keys that a sliding
            layer does not see any more. One forward pass calls it once for each layer; in cached generation each step
            passes the share of its own rows, to be added up.

    Raises:
        ModelError: the shapes do not fit each other or the batch that the model receives.

    """

    def __init__(self, rows: Tensor, weights: Tensor, columns: Tensor, sink: Callable[[int, Tensor], None]) -> None:
        batch, count = rows.shape
        if weights.ndim != 3 or weights.shape[::2] != (batch, count) or columns.ndim != 2 or len(columns) != batch:
            raise ModelError(
                f"rows {tuple(rows.shape)}, weights {tuple(weights.shape)} and columns {tuple(columns.shape)}; "
                "give (B, R), (B, S, R) and (B, M)"
            )
        self._slots = rows
        self._weights = weights.float()
        self._columns = columns
        self._sink = sink

    def rows(self, call: AttentionCall) -> Tensor | None:
        """Return the slots that are in this call."""
        device = call.query.device
        local = self._slots.to(device) - call.query_positions[0]
        inside = (self._slots.to(device) >= 0) & (local >= 0) & (local < len(call.query_positions))
        kept = inside.any(0)
        if not kept.any():
            return None
        self._pending = self._weights.to(device)[:, :, kept]
        self._sums = torch.zeros((), device=device)
        return local.where(inside, -1)[:, kept]

    def read(self, call: AttentionCall, rows: Tensor, probabilities: Tensor) -> None:  # noqa: ARG002
        """Add these rows to the sums."""
        weights, self._pending = self._pending.split([rows.shape[1], self._pending.shape[2] - rows.shape[1]], dim=2)
        self._sums = self._sums + weights[:, None] @ probabilities

    def finish(self, call: AttentionCall) -> None:
        """Pass the sums to the sink."""
        columns = self._columns.to(self._sums.device)
        local = columns - call.key_positions[0]
        inside = (columns >= 0) & (local >= 0) & (local < len(call.key_positions))
        picked = local.where(inside, 0)[:, None, None].expand(-1, *self._sums.shape[1:3], -1)
        self._sink(call.layer, self._sums.gather(-1, picked) * inside[:, None, None])
