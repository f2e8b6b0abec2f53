"""The expected results of sparse prefill by independent slow code: full masks, loops over heads, no cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from datasetkit.core.detections import ModelIdentity
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.sparse import SparsePlan
from datasetkit.hi_scoring.sparse.coverage import DenseReason
from datasetkit.hi_scoring.sparse.prompts import Prompt, prompts_of
from tests.hi_scoring.attention.running import NEW_TOKENS, implementation
from tests.hi_scoring.tiny_models import TinyFamily
from tests.hi_scoring.tiny_parts import HEADS, LAYERS

IDENTITY = ModelIdentity("model", "tiny", None, "a")
# Both heads of a key-value group, one head of a group, none, all.
KEPT = [Head(0, 0), Head(0, 1), Head(1, 3), *(Head(3, head) for head in range(HEADS))]
# Families whose masks are not purely causal in any layer, or whose scores are capped.
DENSE = {"gemma3": DenseReason.OTHER_MASK, "paligemma": DenseReason.OTHER_MASK, "paligemma2": DenseReason.SOFTCAP}
IMAGE = 9


def prompt_of(text: Tensor, real: Tensor, sink: int, window: int) -> Prompt:
    """The prompt of one row, (N,) each, in which everything except text is an image."""
    ids = torch.where(text, 0, IMAGE)
    found = prompts_of(ids[None].numpy(), real[None].numpy(), [IMAGE], sink, window)
    assert found is not None
    return found[0]


def visible(text: Tensor, real: Tensor, sink: int, window: int, prompt: int) -> Tensor:
    """Which keys the rows of a sparse head see: (N,) and (N,) to (N, N); rows from ``prompt`` on see all earlier."""
    row, key = torch.arange(len(text))[:, None], torch.arange(len(text))
    first = int(real.nonzero()[0]) if real.any() else 0
    seen: Tensor = text | (row - key < window) | (key < first + sink) | (row >= prompt)
    return seen & real & (key <= row)


@dataclass(frozen=True)
class Case:
    """A plan, and the tokens that it is used on, (B, N) each."""

    plan: SparsePlan
    text: Tensor
    real: Tensor
    prompt: int


def plan_of(**options: Any) -> SparsePlan:
    return SparsePlan.keeping(
        KEPT, IDENTITY, (LAYERS, HEADS), **{"sink": 2, "window": 6, "dense_above": 1.0, **options}
    )


def case_of(family: TinyFamily, inputs: Mapping[str, Any], plan: SparsePlan) -> Case:
    """The input of the slow code; for a family that stays dense, all heads are full."""
    if family.name in DENSE:
        plan = SparsePlan(IDENTITY, HEADS, (tuple(range(HEADS)),) * LAYERS)
    real = inputs["attention_mask"].bool()
    text = real & (inputs["input_ids"] != family.model.config.image_token_id)
    grown = [torch.nn.functional.pad(part, (0, NEW_TOKENS), value=True) for part in (text, real)]
    return Case(plan, *grown, prompt=real.shape[1])


SLOW: list[Case] = []


def _slow_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **options: Any) -> Any:
    batch, heads, length, _ = query.shape
    per_group = heads // key.shape[1]
    [case] = SLOW
    rows = []
    for sample in range(batch):
        text, real = case.text[sample, :length], case.real[sample, :length]
        sparse = visible(text, real, case.plan.sink, case.plan.window, case.prompt)
        for head in range(heads):
            keys, values = key[sample, head // per_group], value[sample, head // per_group]
            seen = mask[sample % len(mask), 0]
            if head not in case.plan.full_heads[module.layer_idx]:
                seen = seen & sparse
            scores = query[sample, head] @ keys.T * options["scaling"]
            if options.get("softcap"):
                scores = torch.tanh(scores / options["softcap"]) * options["softcap"]
            rows.append(scores.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num(0) @ values)
    return torch.stack(rows).unflatten(0, (batch, heads)).transpose(1, 2), None


def _full_mask(*arguments: Any, **options: Any) -> Tensor:
    return sdpa_mask(*arguments, **{**options, "allow_is_causal_skip": False})


AttentionInterface.register("tests_sparse_slow", _slow_attention)
AttentionMaskInterface.register("tests_sparse_slow", _full_mask)


@contextmanager
def slowly(family: TinyFamily, case: Case) -> Iterator[None]:
    """Compute the model's attention by the slow code."""
    SLOW.append(case)
    try:
        with implementation(family.model, "tests_sparse_slow"), torch.no_grad():
            yield
    finally:
        SLOW.clear()


def attended(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, scaling: float) -> Tensor:
    """Attention under a mask in float64, head by head: (H, N, D), (G, N, D) twice and (N, N) to (N, H, D)."""
    query, key, value = (part.double() for part in (query, key, value))
    per_group = len(query) // len(key)
    outputs = []
    for head, rows in enumerate(query):
        scores = rows @ key[head // per_group].T * scaling
        outputs.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value[head // per_group])
    return torch.stack(outputs, 1)
