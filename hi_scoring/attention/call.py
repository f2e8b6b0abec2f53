"""One call of a layer's attention. Owns which keys a row sees, and the exact softmax of chosen rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datasetkit.core.errors import ModelError


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """The arguments of one call of a layer's attention; axes as in the package's docstring.

    Args:
        layer: index of the layer.
        query: shape (B, H, Q, D), after rotary positions and norms.
        key: shape (B, G, K, D), keys of the cache first.
        value: shape (B, G, K, D).
        scaling: factor of the scores before the softmax.
        softcap: bound of the scaled scores, ``softcap * tanh(score / softcap)``; None for no bound.
        query_positions: slot of each query, shape (Q,), int64, consecutive.
        key_positions: slot of each key, shape (K,), int64, consecutive; they begin after 0 where a sliding layer's
            cache has dropped the oldest.
        mask: as the model made it, broadcast over heads: bool (True = sees) or additive, shape (1 or B, 1, Q, K); None
            if a row sees every key, or, if ``causal``, every key up to itself.
        causal: see ``mask``.

    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    scaling: float
    softcap: float | None
    query_positions: Tensor
    key_positions: Tensor
    mask: Tensor | None
    causal: bool

    def visible(self, rows: Tensor) -> Tensor:
        """Return which keys the model lets rows see.

        Args:
            rows: indices into Q, shape (B, R), int64; -1 = none.

        Returns:
            bool, shape (B, 1, R, K); all False for -1.

        Raises:
            ModelError: the mask adds more than "seen" and "not seen" to the scores.

        """
        wanted = (rows >= 0)[:, None, :, None]
        if self.mask is None:
            keys = torch.arange(self.key.shape[2], device=rows.device)
            return (keys <= rows[:, None, :, None]) & wanted if self.causal else wanted.expand(-1, -1, -1, len(keys))
        picked = _rows_of(self.mask.expand(len(rows), -1, -1, -1), rows)
        if picked.dtype == torch.bool:
            return picked & wanted
        seen = picked == 0
        if not (seen | (picked <= torch.finfo(picked.dtype).min / 2)).all():
            raise ModelError(
                f"layer {self.layer} received an additive attention bias; only masks that show (0) or hide "
                f"(the lowest value of the type) a key are supported"
            )
        return seen & wanted

    def probabilities(self, rows: Tensor, visible: Tensor) -> Tensor:
        """Compute rows of the attention, in float32 even if the model's type is shorter.

        Args:
            rows: indices into Q, shape (B, R), int64; -1 = none.
            visible: which keys each row sees, shape (B, 1 or H, R, K), bool.

        Returns:
            float32, shape (B, H, R, K); rows sum to 1, or are all 0 where nothing is visible.

        """
        query = _rows_of(self.query, rows).float() * self.scaling
        scores = _by_group(query, self.key.shape[1]) @ self.key.float().transpose(2, 3)
        scores = scores.view(*query.shape[:3], -1)
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        scores = scores.masked_fill_(~visible, torch.finfo(scores.dtype).min)
        return scores.softmax(-1) * visible.any(-1, keepdim=True)

    def output(self, probabilities: Tensor) -> Tensor:
        """Return the values weighted by probabilities: (B, H, R, K) to (B, R, H, D), in the values' type."""
        weighted = _by_group(probabilities, self.value.shape[1]) @ self.value.float()
        return weighted.view(*probabilities.shape[:3], -1).transpose(1, 2).to(self.value.dtype)


def _rows_of(tensor: Tensor, rows: Tensor) -> Tensor:
    """Pick (B, *, R, *) from (B, *, N, *) by (B, R); any row for -1."""
    samples = torch.arange(len(rows), device=rows.device)[:, None]
    return tensor[samples, :, rows.clamp(min=0)].transpose(1, 2)


def _by_group(tensor: Tensor, groups: int) -> Tensor:
    """Join the rows of all query heads that share a key-value head: (B, H, R, *) to (B, G, H/G R, *)."""
    batch, _, _, width = tensor.shape
    return tensor.reshape(batch, groups, -1, width)
