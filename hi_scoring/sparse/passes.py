"""One forward pass of a sparsified model. Owns which heads of which prompts are computed how, and what is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from datasetkit.errors import ModelError
from hi_scoring.attention.call import AttentionCall
from hi_scoring.attention.compute import attend
from hi_scoring.sparse.blocks import BlockAttention
from hi_scoring.sparse.coverage import Coverage, DenseReason
from hi_scoring.sparse.flex import FlexAttention
from hi_scoring.sparse.plan import SparsePlan
from hi_scoring.sparse.prompts import Prompt, prompts_of

Kernel = Literal["blocks", "flex"]


class _LocalAttention(Protocol):
    """What computes the heads that see shared tokens and a window; see :class:`BlockAttention`."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor: ...


class ForwardPass:
    """One forward pass of a sparsified model: its prompts, and what its layers have computed in common.

    Args:
        plan: of the model.
        coverage: to count in.
        ids: tokens that are given, (B, N); None where there are none.
        picture_tokens: ids that stand for parts of pictures.
        kernel: of the heads that are sparse.

    Attributes:
        is_reached: whether any layer came here.

    """

    def __init__(
        self, plan: SparsePlan, coverage: Coverage, ids: Tensor | None, picture_tokens: Sequence[int], kernel: Kernel
    ) -> None:
        self._plan = plan
        self._coverage = coverage
        self._ids = ids
        self._picture_tokens = picture_tokens
        self._kernel = kernel
        self._located: tuple[Prompt, ...] | DenseReason | None = None
        # By the place of the prompt in the batch; all layers use the same.
        self._local: dict[int, _LocalAttention] = {}
        self.is_reached = False

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Compute one layer's attention, (B, Q, H, D); ``options`` are transformers' other arguments."""
        self.is_reached = True
        layer = getattr(module, "layer_idx", None)
        if layer is None:
            raise ModelError(f"{type(module).__name__} has no layer_idx; give a model whose layers know their number")
        _refuse_unknown(layer, options)
        full = self._plan.full_heads[layer]
        prompts = self._prompts(query, key, mask, options.get("softcap"))
        if isinstance(prompts, DenseReason):
            if query.shape[2] > 1 and len(full) < self._plan.heads:
                self._coverage.dense[prompts] += len(query)
            return _dense(module, query, key, value, mask, options)
        scaling = options.get("scaling")
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        length = query.shape[2]
        found = []
        for number, prompt in enumerate(prompts):
            slots = slice(prompt.start, prompt.stop)
            one, keys, values = (part[number, :, slots] for part in (query, key, value))
            rows = self._attend_prompt(number, prompt, full, one, keys, values, scaling)
            if prompt.length < length:
                # Rows of padding are nobody's; zeros, as SDPA's are where nothing is seen.
                rows = functional.pad(rows, (0, 0, 0, 0, prompt.start, length - prompt.stop))
            found.append(rows)
        return found[0][None] if len(found) == 1 else torch.stack(found)

    def _prompts(
        self, query: Tensor, key: Tensor, mask: Tensor | None, softcap: float | None
    ) -> tuple[Prompt, ...] | DenseReason:
        """Give the batch's prompts, or why this call is dense."""
        if softcap is not None:
            return DenseReason.SOFTCAP
        if mask is None or mask.ndim != 2:
            return DenseReason.OTHER_MASK if query.shape[2] == key.shape[2] else DenseReason.CONTINUES
        if self._located is None:
            self._located = self._locate(mask) or DenseReason.GAPS
        return self._located

    def _locate(self, real: Tensor) -> tuple[Prompt, ...] | None:
        if self._ids is None or self._ids.shape != real.shape:
            given = "no input_ids" if self._ids is None else f"input_ids of shape {tuple(self._ids.shape)}"
            raise ModelError(
                f"a sparsified model was given {given} with {tuple(real.shape)} tokens, so text and pictures cannot be "
                "told apart; give it input_ids, one for each token"
            )
        is_real = real.cpu().numpy()
        is_picture = np.isin(self._ids.cpu().numpy(), self._picture_tokens)
        return prompts_of(is_real & ~is_picture, is_real, self._plan.sink, self._plan.window)

    def _attend_prompt(
        self,
        number: int,
        prompt: Prompt,
        full: tuple[int, ...],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
    ) -> Tensor:
        """Compute one prompt: (H, N, D), (G, N, D) twice, to (N, H, D)."""
        heads = query.shape[0]
        if len(full) == heads:
            return _causal(query, key, value, scaling)
        if prompt.visible == 1 or prompt.visible > self._plan.dense_above:
            self._coverage.dense[DenseReason.HIDES_LITTLE] += 1
            return _causal(query, key, value, scaling)
        self._coverage.sparse += 1
        if number not in self._local:
            uses_flex = self._kernel == "flex" and FlexAttention.is_possible(key)
            kind: Callable[..., _LocalAttention] = FlexAttention if uses_flex else BlockAttention
            self._local[number] = kind(prompt.shared, prompt.length, self._plan.window, key)
        # Of all heads, for full ones are few, and so no keys have to be sorted out.
        output = self._local[number].attend(query, key, value, scaling)
        if full:
            kept = torch.tensor(full, device=query.device)
            groups = kept // (heads // key.shape[0])
            output[:, kept] = _causal(query[kept], key[groups], value[groups], scaling)
        return output


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Full causal attention, without a mask: (H, N, D), (G, N, D) twice, to (N, H, D)."""
    output = functional.scaled_dot_product_attention(
        query[None], key[None], value[None], is_causal=True, scale=scaling, enable_gqa=query.shape[0] != key.shape[0]
    )
    return output[0].transpose(0, 1)


def _dense(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
) -> Tensor:
    """Compute what the model itself computes, (B, Q, H, D)."""
    length, keys = query.shape[2], key.shape[2]
    if mask is not None and mask.ndim == 2:
        mask = mask[:, None, None] & torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    softcap = options.pop("softcap", None)
    if softcap is None:
        return sdpa_attention_forward(module, query, key, value, mask, **options)[0]
    call = AttentionCall(
        layer=module.layer_idx,
        query=query,
        key=key,
        value=value,
        scaling=options["scaling"],
        softcap=softcap,
        query_positions=torch.arange(keys - length, keys, device=query.device),
        key_positions=torch.arange(keys, device=query.device),
        mask=mask,
        causal=mask is None and length > 1,
    )
    # SDPA cannot bound scores, and is not asked to.
    return attend(call, (), (), lambda: query)


def _refuse_unknown(layer: int, options: Mapping[str, Any]) -> None:
    """Refuse what changes the attention beyond mask, scaling and softcap."""
    if options.get("dropout"):
        raise ModelError(f"layer {layer} drops attention at random, p = {options['dropout']}; call model.eval() first")
    for name in ("position_bias", "s_aux"):
        if options.get(name) is not None:
            raise ModelError(f"layer {layer} uses {name} in its attention, which is not known here; give another model")
