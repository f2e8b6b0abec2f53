"""Run the end of a prompt again with edges blocked, for many blocks at once. Owns what is computed and what is reused.

Rows before the first that can change are taken from the pass over the prompt as keys and values. All blocks go through
the decoder as one batch, each from the first of its layers on: below it nothing differs from the unblocked prompt,
which is the batch's first row; the others branch off from its hidden states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention import instrumented
from datasetkit.hi_scoring.interventions.edges import Block, EdgeBlocker, Edges
from datasetkit.hi_scoring.interventions.prompt_pass import PromptPass, logits_of


def rerun_blocked(
    model: Any, prompt: PromptPass, first: int, blocks: Sequence[Block], heads: Tensor | None = None
) -> Tensor:
    """Return the last row's logits with nothing blocked, and with each of the blocks.

    Args:
        model: the model, unchanged since it read the prompt.
        prompt: the pass over the prompt.
        first: the first row that any of the blocks can change; see :meth:`PromptPass.first_affected`.
        blocks: at least one, in the order of the layers where they begin.
        heads: the heads whose edges are blocked, shape (layers, H), bool; None for all.

    Returns:
        shape (1 + blocks, V), float32: for the unblocked prompt, then for each block. In short types, where rounding
        depends on the batch, compare blocks with the first row rather than with the pass over the whole prompt.

    Raises:
        ModelError: a query would be left without a key, or image tokens would have to be computed again in a model that
            adds image features between its layers.

    """
    nothing = Block(Edges(torch.empty(0, dtype=torch.int64), torch.empty(0, len(prompt), dtype=torch.bool)), (0, 0))
    blocker = EdgeBlocker([nothing, *blocks], heads, model.device)
    with instrumented(model, editors=[blocker]), _branching(model.get_decoder(), [block.layers[0] for block in blocks]):
        found = model.get_decoder()(**_rest(prompt, first))
    return logits_of(model, found.last_hidden_state[:, -1])


@contextmanager
def _branching(decoder: Any, starts: Sequence[int]) -> Iterator[None]:
    """Branch copies off from the batch's first row at the layers where they begin to differ, given in order."""

    def brancher(count: int) -> Any:
        def branch(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            hidden, *others = inputs
            return (torch.cat([hidden, hidden[:1].expand(count, -1, -1)]), *others)

        return branch

    with ExitStack() as stack:
        for number, layer in enumerate(decoder.layers):
            if count := starts.count(number):
                stack.callback(layer.register_forward_pre_hook(brancher(count)).remove)
        yield


def _rest(prompt: PromptPass, first: int) -> dict[str, Any]:
    """Return the decoder's arguments for the rows from the first on."""
    arguments = dict(prompt.arguments)
    imaged = arguments.pop("visual_pos_masks", None)
    arguments.pop("deepstack_visual_embeds", None)
    if imaged is not None and imaged[:, first:].any():
        raise ModelError(
            "image tokens would have to be computed again, and this model adds image features between its layers; "
            "choose flows that lead to tokens after the image"
        )
    arguments["inputs_embeds"] = arguments["inputs_embeds"][:, first:]
    if arguments.get("position_ids") is not None:
        arguments["position_ids"] = arguments["position_ids"][..., first:]
    arguments["attention_mask"] = _mask_of(arguments.get("attention_mask"), first)
    arguments["past_key_values"] = Cache(
        [_SharedPrefix(keys[:, :, :first], values[:, :, :first]) for keys, values in prompt.past]
    )
    return arguments


def _mask_of(mask: Any, first: int) -> Any:
    """Slice rows from the decoder's mask: one mask, several by the kind of layer, or none."""
    if isinstance(mask, Mapping):
        return {kind: _mask_of(one, first) for kind, one in mask.items()}
    return mask if mask is None or mask.ndim < 4 else mask[:, :, first:]


class _SharedPrefix(DynamicLayer):
    """Keys and values of one layer that all rows of a batch share; later ones are not kept."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = self._shared = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return the shared keys and values followed by those of each row."""
        keys, values = (part.expand(len(key_states), -1, -1, -1) for part in self._shared)
        return torch.cat([keys, key_states], dim=2), torch.cat([values, value_states], dim=2)
