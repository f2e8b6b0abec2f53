"""Our attention functions on transformers models. Owns how one is attached and detached, and what all must refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from datasetkit.core.errors import ModelError


@contextmanager
def attending_by(name: str, model: Any, done: str, instead: str) -> Iterator[None]:
    """Use a function for the attention of a model's text decoder while the body runs.

    Args:
        name: the name under which the function is registered.
        model: a transformers model.
        done: what the function does to the model, such as ``instrumented``, for error messages.
        instead: what to do if the model already uses it, for error messages.

    Raises:
        ModelError: the model already uses it, or the text attention cannot be reached.

    """
    decoder = model.get_decoder()
    config = decoder.config
    former = config._attn_implementation
    if former == name:
        raise ModelError(f"this {type(model).__name__} is already {done}; {instead}")
    try:
        decoder.set_attn_implementation(name)
        if config._attn_implementation != name:
            raise ModelError(
                f"the text attention of {type(model).__name__} ({type(decoder).__name__}) does not go through "
                f"transformers' AttentionInterface, so it cannot be {done}; use another model"
            )
        yield
    finally:
        config._attn_implementation_internal = former


def layer_of(module: nn.Module, options: Mapping[str, Any]) -> int:
    """Return the index of a layer whose attention is fully described by mask, scaling and softcap.

    Raises:
        ModelError: the layer has no index, or its attention is changed by something else.

    """
    layer: int | None = getattr(module, "layer_idx", None)
    if layer is None:
        raise ModelError(f"{type(module).__name__} has no layer_idx; use a model whose layers have one")
    if options.get("dropout"):
        raise ModelError(f"layer {layer} drops attention at random, p = {options['dropout']}; call model.eval() first")
    for name in ("position_bias", "s_aux"):
        if options.get(name) is not None:
            raise ModelError(f"layer {layer} uses {name} in its attention, which is not supported; use another model")
    return layer
