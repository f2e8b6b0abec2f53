"""Independent slow ablation: eager attention, one sample, no cache, hooks before ``o_proj``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tests.hi_scoring.attention.running import implementation
from tests.hi_scoring.tiny_models import TinyFamily
from tests.hi_scoring.tiny_parts import HEADS

Heads = Mapping[int, tuple[int, ...]]
# The output of a head, shape (N, D), from its layer, its index, and the number of tokens N.
Replacement = Callable[[int, int, int], Tensor]


def heads_out(family: TinyFamily, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The output of each head for one sample, shape (L, N, H, D), and the logits, shape (N, V)."""
    found: dict[int, Tensor] = {}

    def keep(layer: int, entering: Tensor) -> Tensor:
        found[layer] = entering[0].clone()
        return entering

    with _before_mixing(family, keep):
        logits = family.model(**inputs, use_cache=False).logits[0]
    return torch.stack([found[layer] for layer in sorted(found)]), logits


def ablated_logits(family: TinyFamily, inputs: Mapping[str, Any], heads: Heads, replacement: Replacement) -> Tensor:
    """The logits of one sample, shape (N, V), with head outputs replaced one by one."""

    def replace(layer: int, entering: Tensor) -> Tensor:
        entering = entering.clone()
        for head in heads.get(layer, ()):
            entering[0, :, head] = replacement(layer, head, entering.shape[1])
        return entering

    with _before_mixing(family, replace):
        return family.model(**inputs, use_cache=False).logits[0]


@contextmanager
def _before_mixing(family: TinyFamily, change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    handles = []
    for layer, block in enumerate(family.model.get_decoder().layers):

        def hook(_: Any, arguments: tuple[Tensor, ...], layer: int = layer) -> tuple[Tensor]:
            return (change(layer, arguments[0].unflatten(-1, (HEADS, -1))).flatten(-2),)

        handles.append(block.self_attn.o_proj.register_forward_pre_hook(hook))
    try:
        with implementation(family.model, "eager"), torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
