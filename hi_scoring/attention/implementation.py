"""Attention functions of ours on models of transformers. Owns how one is put on and off, and what no such one knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from datasetkit.core.errors import ModelError


@contextmanager
def attending_by(name: str, model: Any, done: str, instead: str) -> Iterator[None]:
    """Let a function compute the attention of a model's text decoder while the body runs.

    Args:
        name: that it is registered by.
        model: of transformers.
        done: what is done to the model with it, such as ``instrumented``, for errors.
        instead: what to do where it is on the model already, for errors.

    Raises:
        ModelError: it is on the model already, or the text attention cannot be reached.

    """
    decoder = model.get_decoder()
    config = decoder.config
    former = config._attn_implementation
    if former == name:
        raise ModelError(f"this {type(model).__name__} is {done} already; {instead}")
    try:
        decoder.set_attn_implementation(name)
        if config._attn_implementation != name:
            raise ModelError(
                f"the text attention of {type(model).__name__} ({type(decoder).__name__}) does not go through "
                f"transformers' AttentionInterface, so it cannot be {done}; give another model"
            )
        yield
    finally:
        config._attn_implementation_internal = former


def layer_of(module: nn.Module, options: Mapping[str, Any]) -> int:
    """Give the number of a layer that computes its attention, of which mask, scaling and softcap tell everything.

    Raises:
        ModelError: it does not know its number, or its attention is changed by something else.

    """
    layer: int | None = getattr(module, "layer_idx", None)
    if layer is None:
        raise ModelError(f"{type(module).__name__} has no layer_idx; give a model whose layers know their number")
    if options.get("dropout"):
        raise ModelError(f"layer {layer} drops attention at random, p = {options['dropout']}; call model.eval() first")
    for name in ("position_bias", "s_aux"):
        if options.get(name) is not None:
            raise ModelError(f"layer {layer} uses {name} in its attention, which is not known here; give another model")
    return layer
