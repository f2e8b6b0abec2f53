"""Blocked attention edges: which queries lose which keys, and in which layers. Owns the editor that blocks them.

An edge leads from a key to a query. It is blocked before the softmax, so that the remaining attention of a query is
renormalised (Zhang et al., "Cross-modal Information Flow in Multimodal Large Language Models", arXiv 2411.18620). Also
owns how control edges are drawn, and when random edges are no valid control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasetkit.hi_scoring.attention import AttentionCall, Editor

# Layers [start, stop).
Window = tuple[int, int]
# Random edges that share a larger part with the flow are not a valid control: blocking them mostly blocks the flow
# itself, and the effect of the shared edges would be attributed to edges in general.
MOST_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges from keys to queries that are blocked.

    Args:
        targets: slots of the T queries, shape (T,), int64, each once.
        keys: the keys that each of them loses, shape (T, N), bool, by slots.

    """

    targets: Tensor
    keys: Tensor

    @classmethod
    def between(cls, sources: Tensor, targets: Tensor, length: int) -> Edges:
        """Return the edges from all sources to all targets.

        Args:
            sources: slots of keys, shape (S,), int64.
            targets: slots of queries, shape (T,), int64.
            length: number of slots N.

        """
        keys = torch.zeros(length, dtype=torch.bool)
        keys[sources] = True
        return cls(targets, keys.expand(len(targets), -1))

    def drawn_like(self, visible: Tensor, alike: Tensor, random: np.random.Generator) -> Edges:
        """Draw control edges: the same number of randomly chosen edges to the same queries.

        In every layer a query loses as many of the keys that it sees there as with these edges: keys that are seen in
        the same kinds of layers are drawn separately from the others. Keys are drawn from other keys of the same kind
        if there are enough of them; else from any other keys; if these are too few, from all keys, including those of
        the edges.

        Args:
            visible: which keys each query sees in each of M kinds of layers, shape (M, T, N), bool.
            alike: which keys are of the same kind as those of these edges (for example image tokens), shape (N,), bool.
            random: the random generator.

        """
        drawn = torch.zeros(self.keys.shape, dtype=torch.bool)
        for row, lost in enumerate(self.keys):
            kinds, kind_of_key = visible[:, row].T.unique(dim=0, return_inverse=True)
            for number in kinds.any(1).nonzero()[:, 0]:
                seen = kind_of_key == number
                count, others = int((seen & lost).sum()), seen & ~lost
                pool = next(keys for keys in (others & alike, others, seen) if int(keys.sum()) >= count)
                drawn[row, torch.from_numpy(random.choice(pool.nonzero()[:, 0].numpy(), count, replace=False))] = True
        return Edges(self.targets, drawn)

    def shared_with(self, other: Edges, visible: Tensor) -> float:
        """Return the share of these edges that are also among others to the same queries; 0 if there are no edges.

        Args:
            other: the others.
            visible: as above. Edges from keys that their query sees in no layer are not counted.

        """
        there = self.keys & visible.any(0)
        return float((there & other.keys).sum()) / max(1, int(there.sum()))


@dataclass(frozen=True, eq=False)
class Block:
    """Edges that are blocked in one row of a batch, and the layers where they are blocked."""

    edges: Edges
    layers: Window


def window_around(layer: int, size: int, layers: int) -> Window:
    """Return ``size`` layers centred on this one, right of the centre if the size is even; clipped at the ends."""
    return max(0, layer - size // 2), min(layers, layer + -(-size // 2))


class EdgeBlocker(Editor):
    """Blocks edges in the rows of a batch, with separate edges for each row.

    Args:
        blocks: one for each row; a call with fewer rows uses the first of them. The edges of all have the same length
            N.
        heads: the heads whose edges are blocked, shape (layers, H), bool; None for all.
        device: device of the model.

    """

    def __init__(
        self, blocks: Sequence[Block], heads: Tensor | None = None, device: torch.device | str = "cpu"
    ) -> None:
        most = max(len(block.edges.targets) for block in blocks)
        targets = torch.full((len(blocks), most), -1)
        keys = torch.zeros(len(blocks), most, blocks[0].edges.keys.shape[1], dtype=torch.bool)
        for row, block in enumerate(blocks):
            count = len(block.edges.targets)
            targets[row, :count] = block.edges.targets
            keys[row, :count] = block.edges.keys
        self._targets, self._keys = targets.to(device), keys.to(device)
        self._layers = torch.tensor([block.layers for block in blocks], device=device)
        self._heads = None if heads is None else heads.to(device)

    def rows(self, call: AttentionCall) -> Tensor | None:
        """See :meth:`Editor.rows`: the targets in this call, for rows whose layers include it."""
        if self._heads is not None and not self._heads[call.layer].any():
            return None
        first, stop = self._layers[: len(call.query)].T
        under_way = (first <= call.layer) & (call.layer < stop)
        local = self._targets[: len(call.query)] - call.query_positions[0]
        inside = under_way[:, None] & (local >= 0) & (local < len(call.query_positions))
        return local.where(inside, -1)

    def edit(self, call: AttentionCall, rows: Tensor, visible: Tensor) -> Tensor:
        """See :meth:`Editor.edit`."""
        slots = call.query_positions[rows.clamp(min=0)]
        same = slots[:, :, None] == self._targets[: len(rows), None, :]
        samples = torch.arange(len(rows), device=rows.device)[:, None]
        keys = self._keys[: len(rows)][..., call.key_positions][samples, same.to(torch.uint8).argmax(-1)]
        blocked = (keys & same.any(-1, keepdim=True))[:, None]
        if self._heads is not None:
            blocked = blocked & self._heads[call.layer][:, None, None]
        return visible & ~blocked
