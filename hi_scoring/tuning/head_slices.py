"""Slices of LoRA that belong to heads. Owns which entries of its factors those are, and that no others ever change.

The update of a projection is B A: rows of B belong to the projection's outputs, columns of A to its inputs. A head has
separate rows of q, shares rows of k and v with the other query heads of its group, and has separate columns of o.
Entries of other heads are zero from the start and get zero gradients, so optimizers leave them at zero, even with
weight decay. Saved, loaded and merged weights are therefore plain LoRA.

Axes: H query heads, G key-value heads (each serves H / G query heads), D width of a head, r rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from datasetkit.core.errors import ModelError
from datasetkit.options.heads import PROJECTIONS


@dataclass(frozen=True, eq=False)
class Slice:
    """The part of a projection's update that belongs to chosen heads.

    Args:
        factor: the factor of LoRA that is confined to it: ``lora_B`` (r columns, one row per output) or ``lora_A`` (r
            rows, one column per input).
        mine: which of these rows or columns belong to the heads, shape (H D,) or (G D,), bool.

    """

    factor: str
    mine: Tensor


def slices_of(attention: nn.Module, heads: Sequence[int], query_heads: int) -> dict[str, Slice]:
    """Return the part of each projection that belongs to heads of a layer.

    Args:
        attention: a layer's ``self_attn``.
        heads: indices of the chosen query heads.
        query_heads: number of query heads of the layer, H.

    Returns:
        slices by the projection's name; without ``k_proj`` and ``v_proj`` if no group of query heads is chosen as a
        whole, since every query head of a group is affected by its key-value head.

    Raises:
        ModelError: the layer has no such heads, or its projections are not q, k, v and o of H and G heads of width D.

    """
    if outside := [head for head in heads if head >= query_heads]:
        raise ModelError(f"heads {outside} were selected; the layer has {query_heads}, counted from 0")
    key_value_heads, width = _layout(attention, query_heads)
    chosen = torch.zeros(query_heads, dtype=torch.bool)
    chosen[list(heads)] = True
    whole = chosen.view(key_value_heads, -1).all(1)
    own = chosen.repeat_interleave(width)
    slices = {"q_proj": Slice("lora_B", own)}
    if whole.any():
        shared = whole.repeat_interleave(width)
        slices |= {"k_proj": Slice("lora_B", shared), "v_proj": Slice("lora_B", shared)}
    return {**slices, "o_proj": Slice("lora_A", own)}


def confine(layer: Any, part: Slice, adapter: str) -> int:
    """Confine a LoRA layer's update to a slice from now on.

    This applies to the existing parameters: it survives copying weights into them (``load_state_dict``) and moving the
    model, but not a deep copy of the model.

    Args:
        layer: the LoRA layer that peft put around the projection.
        part: the slice of that projection.
        adapter: name of the adapter.

    Returns:
        the number of entries of the factor that stay zero.

    """
    weight = getattr(layer, part.factor)[adapter].weight
    others = ~part.mine.to(weight.device)
    outside = (others[:, None] if part.factor == "lora_B" else others[None, :]).expand_as(weight)
    with torch.no_grad():
        weight.masked_fill_(outside, 0)
    # Not a product with the mask: the gradients of a scaled loss may be infinite.
    weight.register_hook(lambda gradient: gradient.masked_fill(outside.to(gradient.device), 0))
    return int(outside.sum())


def _layout(attention: nn.Module, query_heads: int) -> tuple[int, int]:
    """Return G and D."""
    parts = dict(attention.named_children())
    query, key, value, output = (parts.pop(name, None) for name in PROJECTIONS)
    if not (
        isinstance(query, nn.Linear)
        and isinstance(key, nn.Linear)
        and isinstance(value, nn.Linear)
        and isinstance(output, nn.Linear)
    ):
        raise ModelError(
            f"{type(attention).__name__} has no four linear projections {', '.join(PROJECTIONS)} (they may be fused "
            "or have other names), so its heads cannot be separated; select layers"
        )
    width = query.out_features // query_heads
    groups = key.out_features // max(width, 1)
    features = (query.out_features, key.out_features, value.out_features, output.in_features)
    heads = (query_heads, groups, groups, query_heads)
    if features != tuple(count * width for count in heads) or query_heads % groups:
        raise ModelError(
            f"{type(attention).__name__} has {', '.join(map(str, features))} features in q, k, v and o, which do "
            f"not fit {query_heads} query heads and a divisor of that many key-value heads; select layers"
        )
    for name, part in parts.items():
        if any(parameter.shape[-1] != width for parameter in part.parameters()):
            raise ModelError(
                f"{name} of {type(attention).__name__} works across heads, not on the {width} features of each, so a "
                "change in one head may affect others; select layers"
            )
    return groups, width
