"""A forward pass over a prompt, kept so that parts of it can be computed again. Owns what is kept of the pass.

The decoder's inputs with the image's features and the keys and values of every layer are kept: whatever is changed
afterwards, neither the vision tower nor the rows before the change are computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention import AttentionCall, Reader, instrumented
from datasetkit.hi_scoring.model.writing import GREEDY

# Far above the rounding of bfloat16, far below the effect of a scale or a bound of the logits.
_OUTPUT_TOLERANCE = 0.03


@dataclass(frozen=True, eq=False)
class PromptPass:
    """One prompt of N tokens, computed once.

    Args:
        arguments: the arguments of the decoder.
        past: keys and values of every layer, shape (1, G, at least N, D) each, those of the prompt first.
        reach: slot of the last key that each row sees in any layer, shape (N,), int64.
        watched: slots of the rows whose visible keys were recorded, shape (T,), int64, ascending.
        visible: which keys these rows see with each of the M masks of the layers (one mask, except in models with some
            sliding layers), shape (M, T, N), bool.
        hidden: for the last row, the input of each layer, and the output of the last layer before the final norm; shape
            (layers + 1, width).
        logits: logits of the last row, shape (V,), float32.
        written: the tokens that the model generates after the prompt, greedily.

    """

    arguments: Mapping[str, Any]
    past: tuple[tuple[Tensor, Tensor], ...]
    reach: Tensor
    watched: Tensor
    visible: Tensor
    hidden: Tensor
    logits: Tensor
    written: Tensor

    def __len__(self) -> int:
        return len(self.reach)

    def first_affected(self, slot: int) -> int:
        """Return the first row that can change if rows from a slot on change; it sees them, directly or indirectly."""
        first = slot
        while (earlier := (self.reach[:first] >= first).nonzero()).numel():
            first = int(earlier[0])
        return first

    def seen_by(self, slots: Tensor) -> Tensor:
        """Return which keys watched rows see with each mask: (T',) slots to (M, T', N), bool."""
        return self.visible[:, torch.searchsorted(self.watched, slots)]


def read_prompt(
    model: Any, inputs: Mapping[str, Any], watched: Tensor, *, max_new_tokens: int, pad_token_id: int
) -> PromptPass:
    """Run a prompt, and let the model generate.

    Args:
        model: a model of a known family, in evaluation mode.
        inputs: everything that the processor made of one prompt without padding, on the model's device.
        watched: slots of rows whose visible keys are recorded, shape (T,), int64, ascending.
        max_new_tokens: limit of the generated tokens.
        pad_token_id: padding token of its tokenizer.

    Raises:
        ModelError: the model's structure is not supported.

    """
    decoder = model.get_decoder()
    sight, trace = _Sight(watched.to(model.device)), _Trace()
    # Not the model's default cache, whose sliding layers drop keys outside their window.
    cache: Any = DynamicCache()
    with ExitStack() as stack:
        stack.enter_context(instrumented(model, readers=[sight]))
        stack.callback(decoder.register_forward_pre_hook(trace.begin, with_kwargs=True).remove)
        for module in (*decoder.layers, norm_of(model)):
            stack.callback(module.register_forward_pre_hook(trace.step).remove)
        found = model.generate(
            **inputs,
            **GREEDY,
            past_key_values=cache,
            max_new_tokens=max_new_tokens,
            pad_token_id=pad_token_id,
            output_logits=True,
            return_dict_in_generate=True,
        )
    hidden, logits = torch.stack(trace.hidden), found.logits[0][0].float()
    _check_output(model, hidden[-1], logits)
    return PromptPass(
        arguments=trace.arguments,
        past=tuple((layer.keys, layer.values) for layer in cache.layers),
        reach=sight.reach.cpu(),
        watched=watched,
        visible=torch.stack(sight.visible).cpu(),
        hidden=hidden,
        logits=logits,
        written=found.sequences[0, inputs["input_ids"].shape[1] :],
    )


def norm_of(model: Any) -> nn.Module:
    """Return the norm between a model's last layer and its output matrix.

    Raises:
        ModelError: the decoder has none under its usual name.

    """
    decoder = model.get_decoder()
    norm = getattr(decoder, "norm", None)
    if not isinstance(norm, nn.Module):
        raise ModelError(f"{type(decoder).__name__} has no final norm named norm; use another model")
    return norm


def logits_of(model: Any, hidden: Tensor) -> Tensor:
    """Return the logits of rows after the final norm, shape (*, width), by the output matrix: (*, V), float32."""
    logits: Tensor = model.get_output_embeddings()(hidden).float()
    softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _check_output(model: Any, hidden: Tensor, logits: Tensor) -> None:
    """Refuse a model that computes its logits differently from :func:`logits_of`."""
    ours = logits_of(model, norm_of(model)(hidden))
    if (ours - logits).abs().max() > _OUTPUT_TOLERANCE * logits.abs().max():
        raise ModelError(
            f"the logits of {type(model).__name__} are not its output matrix times its last layer, so they "
            "cannot be read at other layers; use another model"
        )


class _Sight(Reader):
    """Records which keys the rows of a prompt see; requests no row of the attention."""

    def __init__(self, watched: Tensor) -> None:
        self.reach = torch.empty(0)
        self.visible: list[Tensor] = []
        self._watched = watched
        self._masks: list[Tensor | None] = []

    def rows(self, call: AttentionCall) -> None:
        """Record each mask of the prompt's pass once."""
        if call.query_positions[0] > 0 or any(call.mask is mask for mask in self._masks):
            return
        reach = _reach(call)
        self.reach = torch.maximum(self.reach, reach) if self._masks else reach
        self.visible.append(call.visible(self._watched[None])[0, 0])
        self._masks.append(call.mask)

    def read(self, call: AttentionCall, rows: Tensor, probabilities: Tensor) -> None:
        """Do nothing; never called, since no row is requested."""


class _Trace:
    """Records the decoder's inputs for the prompt, and the hidden states of its last row."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self.hidden: list[Tensor] = []
        self._is_prompt = True

    def begin(self, _: nn.Module, __: tuple[Any, ...], arguments: dict[str, Any]) -> None:
        """Record the arguments, before the decoder's pass."""
        self._is_prompt = not self.arguments
        if self._is_prompt:
            self.arguments = dict(arguments)

    def step(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Record the last row, before a layer's pass and before the final norm."""
        if self._is_prompt:
            self.hidden.append(inputs[0][0, -1].clone())


def _reach(call: AttentionCall) -> Tensor:
    """Return the slot of the last key that each row of a call sees, shape (N,)."""
    rows = call.query_positions
    if call.mask is None and call.causal:
        return rows
    # The first one counted from the end.
    return rows[-1] - call.visible(rows[None])[0, 0].flip(-1).to(torch.uint8).argmax(-1)
