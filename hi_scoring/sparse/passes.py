"""One forward pass of a sparsified model. Owns how the heads of each prompt are computed, and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention.call import AttentionCall
from datasetkit.hi_scoring.attention.compute import attend
from datasetkit.hi_scoring.attention.implementation import layer_of
from datasetkit.hi_scoring.sparse.coverage import Coverage, DenseReason
from datasetkit.hi_scoring.sparse.kernels import Kernel, LocalAttention, local_attention
from datasetkit.hi_scoring.sparse.plan import SparsePlan
from datasetkit.hi_scoring.sparse.prompts import Prompt, prompts_of


@dataclass(eq=False)
class ForwardPass:
    """One forward pass of a sparsified model: its prompts, and the state that its layers share.

    Args:
        ids: input tokens, (B, N); None if there are none.
        images: ids that stand for parts of images.
        slots: number of slots that belong to prompts, if generated tokens follow; None for all.

    Attributes:
        is_reached: whether any layer was computed here.

    """

    plan: SparsePlan
    coverage: Coverage
    ids: Tensor | None
    images: Sequence[int]
    kernel: Kernel
    slots: int | None = None
    is_reached: bool = field(default=False, init=False)
    _located: tuple[Prompt, ...] | DenseReason | None = field(default=None, init=False)
    # By the index of the prompt in the batch, and the device; all layers there share one.
    _local: dict[tuple[int, torch.device], LocalAttention] = field(default_factory=dict, init=False)

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Compute one layer's attention, (B, Q, H, D); ``options`` are transformers' other arguments."""
        self.is_reached = True
        full = self.plan.full_heads[layer_of(module, options)]
        prompts = self._prompts(query, key, mask, options.get("softcap"))
        if isinstance(prompts, DenseReason):
            if query.shape[2] > 1 and len(full) < self.plan.heads:
                self.coverage.dense[prompts] += len(query)
            return _dense(module, query, key, value, mask, options)
        scaling = options.get("scaling")
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        length = query.shape[2]
        found = []
        for number, prompt in enumerate(prompts):
            one, keys, values = (part[number, :, prompt.start : prompt.end] for part in (query, key, value))
            rows = self._attend_prompt(number, prompt, full, one, keys, values, scaling)
            if prompt.end > prompt.stop:
                rows = torch.cat([rows, _causal(one[:, prompt.length :], keys, values, scaling)])
            if len(rows) < length:
                # Rows of padding are zeros, like those of SDPA where nothing is visible.
                rows = functional.pad(rows, (0, 0, 0, 0, prompt.start, length - prompt.end))
            found.append(rows)
        return found[0][None] if len(found) == 1 else torch.stack(found)

    def _prompts(
        self, query: Tensor, key: Tensor, mask: Tensor | None, softcap: float | None
    ) -> tuple[Prompt, ...] | DenseReason:
        """Return the batch's prompts, or why this call is dense."""
        if softcap is not None:
            return DenseReason.SOFTCAP
        if mask is None or mask.ndim != 2:
            return DenseReason.OTHER_MASK if query.shape[2] == key.shape[2] else DenseReason.CONTINUES
        if self._located is not None:
            return self._located
        if self.ids is None or self.ids.shape != mask.shape:
            given = "no input_ids" if self.ids is None else f"input_ids of shape {tuple(self.ids.shape)}"
            raise ModelError(
                f"a sparsified model received {given} with {tuple(mask.shape)} tokens, so text and images cannot be "
                "distinguished; pass input_ids, one for each token"
            )
        ids, is_real = self.ids.cpu().numpy(), mask.cpu().numpy()
        prompts = prompts_of(ids, is_real, self.images, self.plan.sink, self.plan.window, self.slots)
        self._located = prompts or DenseReason.GAPS
        return self._located

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
        """Compute one prompt without the tokens that follow it: (H, N, D), (G, N, D) twice, to (N, H, D)."""
        query, key, value = (part[:, : prompt.length] for part in (query, key, value))
        heads = query.shape[0]
        if len(full) == heads:
            return _causal(query, key, value, scaling)
        if prompt.visible == 1 or prompt.visible > self.plan.dense_above:
            self.coverage.dense[DenseReason.HIDES_LITTLE] += 1
            return _causal(query, key, value, scaling)
        self.coverage.sparse += 1
        place = number, key.device
        if place not in self._local:
            self._local[place] = local_attention(self.kernel, prompt, self.plan.window, key)
        return _mixed(self._local[place], full, query, key, value, scaling)


def _mixed(
    local: LocalAttention, full: tuple[int, ...], query: Tensor, key: Tensor, value: Tensor, scaling: float
) -> Tensor:
    """Compute full heads, and all others with local attention: (H, N, D), (G, N, D) twice, to (N, H, D)."""
    if not full:
        return local.attend(query, key, value, scaling)
    per_group = query.shape[0] // key.shape[0]
    # Heads that share keys are computed together, so a full head next to a sparse one is computed twice.
    groups = sorted({head // per_group for head in range(len(query)) if head not in full})
    output = local.attend(query, key, value, scaling, groups)
    kept = torch.tensor(full, device=query.device)
    shared = kept // per_group
    output[:, kept] = _causal(query[kept], key[shared], value[shared], scaling)
    return output


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Compute full causal attention of the last Q rows: (H, Q, D), (G, N, D) twice, to (Q, H, D); all need no mask."""
    rows, keys = query.shape[1], key.shape[1]
    mask = None
    if rows < keys:
        mask = torch.ones(rows, keys, dtype=torch.bool, device=query.device).tril(keys - rows)
    output = functional.scaled_dot_product_attention(
        query[None],
        key[None],
        value[None],
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query.shape[0] != key.shape[0],
    )
    return output[0].transpose(0, 1)


def _dense(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
) -> Tensor:
    """Compute the model's original attention, (B, Q, H, D)."""
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
    # SDPA cannot cap scores, so it is not used for such layers.
    return attend(call, (), (), lambda: query)
