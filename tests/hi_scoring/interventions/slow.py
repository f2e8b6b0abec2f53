"""Independent slow code: full masks, loops over samples and heads, eager, no cache, no batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from tests.hi_scoring.attention.running import implementation

# The currently blocked edges: (layers, B, H, N, N), bool; rows are queries.
_BLOCKED: list[Tensor] = []


def slow_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **options: Any) -> Any:
    [blocked] = _BLOCKED
    batch, heads, _, _ = query.shape
    per_group = heads // key.shape[1]
    output = torch.zeros_like(query)
    for sample in range(batch):
        for head in range(heads):
            scores = query[sample, head] @ key[sample, head // per_group].T * options["scaling"]
            if options.get("softcap"):
                scores = torch.tanh(scores / options["softcap"]) * options["softcap"]
            hidden = ~mask[sample % len(mask), 0] | blocked[module.layer_idx, sample, head]
            weights = scores.masked_fill(hidden, -torch.inf).softmax(-1).nan_to_num(0)
            output[sample, head] = weights @ value[sample, head // per_group]
    return output.transpose(1, 2), None


def full_mask(*arguments: Any, **options: Any) -> Tensor:
    return sdpa_mask(*arguments, **{**options, "allow_is_causal_skip": False})


AttentionInterface.register("tests_blocked", slow_attention)
AttentionMaskInterface.register("tests_blocked", full_mask)


@contextmanager
def slowly(model: Any, blocked: Tensor) -> Iterator[None]:
    """Block edges while the body runs; ``blocked`` as above."""
    _BLOCKED.append(blocked)
    try:
        with implementation(model, "tests_blocked"), torch.no_grad():
            yield
    finally:
        _BLOCKED.clear()


def slow_logits(model: Any, inputs: dict[str, Any], blocked: Tensor) -> Tensor:
    """All logits of a batch, (B, N, V)."""
    with slowly(model, blocked):
        return model(**inputs, use_cache=False).logits
