"""Instrumented models. Owns the attention function that transformers calls, and its complete removal from a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.cache_utils import StaticLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention.call import AttentionCall
from datasetkit.hi_scoring.attention.compute import attend
from datasetkit.hi_scoring.attention.implementation import attending_by, layer_of
from datasetkit.hi_scoring.attention.parts import Editor, Reader

_NAME = "hi_scoring"


@contextmanager
def instrumented(model: Any, readers: Sequence[Reader] = (), editors: Sequence[Editor] = ()) -> Iterator[None]:
    """Attach readers and editors to the attention of a model's text decoder while the body runs.

    Forward passes and ``generate`` with its cache work as usual, in the thread and context of the body. With readers
    only, the model's results equal those with SDPA to the last bit; where its scores are capped (Gemma 2, which SDPA
    cannot do), they are computed exactly, in blocks of rows. Other towers keep their implementation.

    Args:
        model: a transformers model in evaluation mode whose text attention goes through ``AttentionInterface``.
        readers: each receives the rows that it requests.
        editors: applied in their order, before readers read.

    Raises:
        ModelError: the model is already instrumented; its text attention cannot be reached or was not reached while it
            ran; it received a static cache, or uses a kind of attention that softmax, mask and softcap do not describe;
            or a row is left without a key.

    """
    decoder = model.get_decoder()
    instrument = _Instrument(readers, editors)
    with ExitStack() as stack:
        instead = "pass all readers and editors to one instrumented()"
        stack.enter_context(attending_by(_NAME, model, "instrumented", instead))
        token = _INSTRUMENTS.set(MappingProxyType({**_INSTRUMENTS.get(), id(decoder.config): instrument}))
        stack.callback(_INSTRUMENTS.reset, token)
        for handle in (
            decoder.register_forward_pre_hook(instrument.begin, with_kwargs=True),
            decoder.register_forward_hook(instrument.check),
            decoder.register_forward_hook(instrument.end, always_call=True),
            model.register_forward_pre_hook(instrument.reset),
            model.register_forward_hook(instrument.check),
        ):
            stack.callback(handle.remove)
        yield


class _Instrument:
    """The state of one instrumented model: its readers and editors, and the current forward pass."""

    def __init__(self, readers: Sequence[Reader], editors: Sequence[Editor]) -> None:
        self._readers = tuple(readers)
        self._editors = tuple(editors)
        # Slots in the cache before the current forward pass; None between passes.
        self._past: int | None = None
        self._reached = False

    def reset(self, *_: Any) -> None:
        """Record, before the model's forward pass, that no attention has been computed in it yet."""
        self._reached = False

    def begin(self, decoder: nn.Module, _: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Record, before the decoder's forward pass, how many tokens came before."""
        cache = kwargs.get("past_key_values")
        if any(isinstance(layer, StaticLayer) for layer in getattr(cache, "layers", ())):
            raise ModelError(
                f"{type(decoder).__name__} received a {type(cache).__name__}, whose slots differ from the sequence's; "
                "generate without cache_implementation, or pass a DynamicCache"
            )
        self._past = cache.get_seq_length() if cache is not None else 0
        self._reached = False

    def end(self, *_: Any) -> None:
        """Forget the current pass, after the decoder's forward pass, also if it failed."""
        self._past = None

    def check(self, model: nn.Module, *_: Any) -> None:
        """Raise, after a forward pass, if readers received nothing."""
        if not self._reached:
            raise ModelError(
                f"{type(model).__name__} ran without its decoder's attention going through transformers' "
                "AttentionInterface, so nothing was read or edited; use another model"
            )

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Compute one layer's attention; ``options`` are the other arguments of transformers' attention functions."""
        if self._past is None:
            raise ModelError(
                f"attention of {type(module).__name__} ran outside its decoder's forward pass (as with gradient "
                "checkpointing), so the slots of its tokens are unknown"
            )
        self._reached = True
        layer = layer_of(module, options)
        length, total = query.shape[2], self._past + query.shape[2]
        keys = key.shape[2]
        if keys > total or (mask is not None and mask.shape[-2:] != (length, keys)):
            raise ModelError(
                f"layer {layer} received {keys} keys and a mask of {None if mask is None else tuple(mask.shape)} for "
                f"{length} queries after {self._past} tokens; only self-attention with a growing cache can be read"
            )
        causal = options.get("is_causal")
        scaling = options.get("scaling")
        softcap = options.pop("softcap", None)
        call = AttentionCall(
            layer=layer,
            query=query,
            key=key,
            value=value,
            scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
            softcap=softcap,
            query_positions=torch.arange(self._past, total, device=query.device),
            key_positions=torch.arange(total - keys, total, device=query.device),
            mask=mask,
            # The same rule as in sdpa_attention_forward.
            causal=length > 1 and mask is None and (getattr(module, "is_causal", True) if causal is None else causal),
        )
        return attend(
            call,
            self._readers,
            self._editors,
            lambda: sdpa_attention_forward(module, query, key, value, mask, **options)[0],
        )


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Compute the attention of every instrumented model, as transformers calls it."""
    instrument = _INSTRUMENTS.get().get(id(getattr(module, "config", None)))
    if instrument is None:
        raise ModelError(
            f"{type(module).__name__} is instrumented in another thread or context; run the model where "
            "instrumented() was entered"
        )
    return instrument.attend(module, query, key, value, attention_mask, options), None


# Keyed by the id of the configuration that a decoder and its attention modules share.
_INSTRUMENTS: ContextVar[Mapping[int, _Instrument]] = ContextVar("instruments", default=MappingProxyType({}))

AttentionInterface.register(_NAME, _attention)
# Without a registered mask function, ours would receive no mask at all, whatever is padded, sliding or bidirectional.
AttentionMaskInterface.register(_NAME, sdpa_mask)
