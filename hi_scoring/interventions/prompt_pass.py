"""A prompt that a model has read once, kept so that parts of it can be read again. Owns what is kept of the pass.

That is what the decoder was given, the image's features in it, and the keys and values of every layer: whatever is
changed afterwards, neither the vision tower nor the rows before the change are computed again.
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

# Far beyond the rounding of bfloat16, far below what a scale or a bound of the logits makes.
_OUTPUT_TOLERANCE = 0.03


@dataclass(frozen=True, eq=False)
class PromptPass:
    """One prompt of N tokens, read once.

    Args:
        arguments: what the decoder was called with.
        past: keys and values of every layer, shape (1, G, at least N, D) each, those of the prompt first.
        reach: slot of the last key that each row sees in any layer, shape (N,), int64.
        watched: slots of the rows whose keys were noted, shape (T,), int64, ascending.
        visible: which keys these see by each of the M masks that layers were given (one, but in models of which some
            layers see the last few keys only), shape (M, T, N), bool.
        hidden: of the last row, what each layer was given, and what the last one gave before the final norm; shape
            (layers + 1, width).
        logits: of the last row, shape (V,), float32.
        written: the tokens that the model writes after the prompt, greedily.

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
        """Give the first row that can change when those from a slot on do: one that sees them, be it through others."""
        first = slot
        while (earlier := (self.reach[:first] >= first).nonzero()).numel():
            first = int(earlier[0])
        return first

    def seen_by(self, slots: Tensor) -> Tensor:
        """Tell which keys watched rows see by each mask: (T',) slots to (M, T', N), bool."""
        return self.visible[:, torch.searchsorted(self.watched, slots)]


def read_prompt(
    model: Any, inputs: Mapping[str, Any], watched: Tensor, *, max_new_tokens: int, pad_token_id: int
) -> PromptPass:
    """Read a prompt, and let the model go on.

    Args:
        model: of a known family, in evaluation mode.
        inputs: of one prompt without padding, everything that the processor made, on the model's device.
        watched: slots of rows whose keys are noted, shape (T,), int64, ascending.
        max_new_tokens: how much it may write.
        pad_token_id: of its tokenizer.

    Raises:
        ModelError: the model is built in a way that is not known here.

    """
    decoder = model.get_decoder()
    sight, trace = _Sight(watched.to(model.device)), _Trace()
    # Not the model's own kind, whose sliding layers forget the keys that they have passed.
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
    """Give the norm between a model's last layer and its output matrix.

    Raises:
        ModelError: the decoder has none by its usual name.

    """
    decoder = model.get_decoder()
    norm = getattr(decoder, "norm", None)
    if not isinstance(norm, nn.Module):
        raise ModelError(f"{type(decoder).__name__} has no final norm by the name of norm; give another model")
    return norm


def logits_of(model: Any, hidden: Tensor) -> Tensor:
    """Compute logits of rows that the final norm gave, shape (*, width), by the output matrix: (*, V), float32."""
    logits: Tensor = model.get_output_embeddings()(hidden).float()
    softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _check_output(model: Any, hidden: Tensor, logits: Tensor) -> None:
    """Refuse a model that makes its logits in another way than :func:`logits_of` does."""
    ours = logits_of(model, norm_of(model)(hidden))
    if (ours - logits).abs().max() > _OUTPUT_TOLERANCE * logits.abs().max():
        raise ModelError(
            f"the logits of {type(model).__name__} are not what its output matrix makes of its last layer, so they "
            "cannot be read at others; give another model"
        )


class _Sight(Reader):
    """Notes which keys the rows of a prompt see; asks for no row of the attention itself."""

    def __init__(self, watched: Tensor) -> None:
        self.reach = torch.empty(0)
        self.visible: list[Tensor] = []
        self._watched = watched
        self._masks: list[Tensor | None] = []

    def rows(self, call: AttentionCall) -> None:
        """Look at each mask of the prompt's pass once."""
        if call.query_positions[0] > 0 or any(call.mask is mask for mask in self._masks):
            return
        reach = _reach(call)
        self.reach = torch.maximum(self.reach, reach) if self._masks else reach
        self.visible.append(call.visible(self._watched[None])[0, 0])
        self._masks.append(call.mask)

    def read(self, call: AttentionCall, rows: Tensor, probabilities: Tensor) -> None:
        """Never called."""


class _Trace:
    """Notes what the decoder is given for the prompt, and what passes through its last row."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self.hidden: list[Tensor] = []
        self._is_prompt = True

    def begin(self, _: nn.Module, __: tuple[Any, ...], arguments: dict[str, Any]) -> None:
        """Before the decoder's pass."""
        self._is_prompt = not self.arguments
        if self._is_prompt:
            self.arguments = dict(arguments)

    def step(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Before a layer's pass, and before the final norm."""
        if self._is_prompt:
            self.hidden.append(inputs[0][0, -1].clone())


def _reach(call: AttentionCall) -> Tensor:
    """Slot of the last key that each row of a call sees, shape (N,)."""
    rows = call.query_positions
    if call.mask is None and call.causal:
        return rows
    # The first from the end.
    return rows[-1] - call.visible(rows[None])[0, 0].flip(-1).to(torch.uint8).argmax(-1)
