"""Editors that replace head outputs. Owns the replacement, position by position.

They act in every forward pass on every row: prompt, generated token, or padding, which no other row attends to. Outputs
are those of single heads, before the layer mixes them. C is the number of chosen heads of a layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from datasetkit.hi_scoring.attention import AttentionCall, Editor

# Indices of the chosen heads of each layer, ascending; layers without chosen heads are left out.
Heads = Mapping[int, tuple[int, ...]]


class HeadEditor(Editor, ABC):
    """Replaces the outputs of chosen heads."""

    def __init__(self, heads: Heads) -> None:
        self._heads = heads

    def edit_output(self, call: AttentionCall, output: Tensor) -> Tensor:
        """See :meth:`Editor.edit_output`."""
        if call.layer not in self._heads:
            return output
        chosen = torch.tensor(self._heads[call.layer], device=output.device)
        return output.index_copy(2, chosen, self._values(call, output[:, :, chosen]).to(output))

    @abstractmethod
    def _values(self, call: AttentionCall, former: Tensor) -> Tensor:
        """Return the replacement of the chosen heads' outputs, shape (B, Q, C, D)."""


class ZeroHeads(HeadEditor):
    """Replaces the outputs of chosen heads by zeros."""

    def _values(self, call: AttentionCall, former: Tensor) -> Tensor:  # noqa: ARG002
        return torch.zeros_like(former)


class MeanHeads(HeadEditor):
    """Replaces the outputs of chosen heads by their mean: one mean at image tokens, another one at all other tokens.

    Args:
        means: mean outputs of all heads, shape (2, L, H, D), those at image tokens last; see :meth:`References.means`.
        is_image: which slots of a batch of prompts hold image tokens, shape (B, N), bool. Generated tokens never are
            image tokens.

    """

    def __init__(self, heads: Heads, means: Tensor, is_image: Tensor) -> None:
        super().__init__(heads)
        self._means = means
        self._kinds = torch.nn.functional.pad(is_image.long(), (0, 1))

    def _values(self, call: AttentionCall, former: Tensor) -> Tensor:
        means = self._means[:, call.layer, list(self._heads[call.layer])].to(former)
        kinds = self._kinds.to(former.device)
        return means[kinds[:, call.query_positions.clamp(max=kinds.shape[1] - 1)]]


@dataclass(frozen=True, eq=False)
class Donated:
    """Outputs of chosen heads for the donor of each row of a batch; a donor is a prompt with its response.

    Args:
        outputs: for each layer with chosen heads, shape (B, N, C, D); donors are aligned to the right.
        first: slot of each donor's first token, shape (B,), int64.
        last: slot of each donor's last prompt token, shape (B,), int64.

    """

    outputs: Mapping[int, Tensor]
    first: Tensor
    last: Tensor


class ResampledHeads(HeadEditor):
    """Replaces the outputs of chosen heads by those for a donor, while one batch is generated.

    Positions are counted from the last prompt token, in both directions: the token n positions before (after) a row's
    last prompt token gets the output at the donor's token n positions before (after) the donor's last prompt token.
    Where the donor has no such token, its first or its last token is used.

    Args:
        donated: outputs for the rows of the batch. The first forward pass holds all prompts, which are aligned to the
            right.

    """

    def __init__(self, heads: Heads, donated: Donated) -> None:
        super().__init__(heads)
        self._donated = donated
        self._last: Tensor | None = None

    def _values(self, call: AttentionCall, former: Tensor) -> Tensor:  # noqa: ARG002
        if self._last is None:
            self._last = call.query_positions[-1]
        outputs = self._donated.outputs[call.layer]
        first, last = (slots[:, None].to(outputs.device) for slots in (self._donated.first, self._donated.last))
        slots = (last + call.query_positions - self._last).clamp(max=outputs.shape[1] - 1).maximum(first)
        return outputs[torch.arange(len(outputs), device=outputs.device)[:, None], slots]


class OutputCapture(Editor):
    """Changes nothing and keeps the outputs of chosen heads in one forward pass.

    Attributes:
        outputs: for each layer with chosen heads, shape (B, Q, C, D).

    """

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self.outputs: dict[int, Tensor] = {}

    def edit_output(self, call: AttentionCall, output: Tensor) -> Tensor:
        """See :meth:`Editor.edit_output`."""
        if call.layer in self._heads:
            self.outputs[call.layer] = output[:, :, list(self._heads[call.layer])]
        return output


class OutputSums(Editor):
    """Changes nothing and sums the outputs of all heads over one forward pass, so that the outputs need not be kept.

    Args:
        counted: the tokens that each of K sums covers, shape (K, B, N), bool.

    Attributes:
        sums: for each layer, shape (K, H, D), float32.

    """

    def __init__(self, counted: Tensor) -> None:
        self._counted = counted
        self.sums: dict[int, Tensor] = {}

    def edit_output(self, call: AttentionCall, output: Tensor) -> Tensor:
        """See :meth:`Editor.edit_output`."""
        counted = self._counted.to(output.device).float()
        self.sums[call.layer] = torch.einsum("bqhd,kbq->khd", output.float(), counted)
        return output
