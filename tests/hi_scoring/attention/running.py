"""Batches for tiny models, and their attention by transformers' eager code."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datasetkit.hi_scoring.attention import AttentionCall, Reader
from tests.hi_scoring.tiny_models import TinyFamily, tiny

LONG, SHORT = "describe the red circle and the blue square .", "what colour ?"
NEW_TOKENS = 9


def batch_of(family: TinyFamily, *texts: str) -> dict[str, Any]:
    """A left-padded batch with one image and one text per row."""
    pixels = np.random.default_rng(0).integers(0, 256, (len(texts), 60, 84, 3), dtype=np.uint8)
    content = [[{"type": "image"}, {"type": "text", "text": text}] for text in texts]
    if family.processor.chat_template is None:
        prompts = [f"<image>{text}" for text in texts]
    else:
        prompts = [
            family.processor.apply_chat_template([{"role": "user", "content": part}], add_generation_prompt=True)
            for part in content
        ]
    images = [[Image.fromarray(image)] for image in pixels]
    inputs = dict(family.processor(images=images, text=prompts, padding=True, padding_side="left", return_tensors="pt"))
    # PaliGemma adds them.
    inputs.pop("labels", None)
    return inputs


@contextmanager
def implementation(model: Any, name: str) -> Iterator[None]:
    """Compute the text's attention with another of transformers' functions."""
    decoder = model.get_decoder()
    former = decoder.config._attn_implementation
    decoder.set_attn_implementation(name)
    try:
        yield
    finally:
        decoder.set_attn_implementation(former)


def eager(family: TinyFamily, inputs: dict[str, Any]) -> Any:
    """The model's output with all attention."""
    with implementation(family.model, "eager"), torch.no_grad():
        return family.model(**inputs, output_attentions=True)


def generate(family: TinyFamily, inputs: dict[str, Any], **options: Any) -> Any:
    """Continue greedily by exactly NEW_TOKENS tokens."""
    return family.model.generate(
        **inputs,
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
        # Random weights would generate image tokens, and then the model would look for the image.
        suppress_tokens=[family.model.config.image_token_id],
        **options,
    )


class AllRows(Reader):
    """Keeps every row of every call by layer, which real readers must not do."""

    def __init__(self) -> None:
        self.calls: dict[int, list[Tensor]] = {}
        self._parts: list[Tensor] = []

    def rows(self, call: AttentionCall) -> Tensor:
        batch, _, length, _ = call.query.shape
        return torch.arange(length).expand(batch, -1)

    def read(self, call: AttentionCall, rows: Tensor, probabilities: Tensor) -> None:
        self._parts.append(probabilities)

    def finish(self, call: AttentionCall) -> None:
        self.calls.setdefault(call.layer, []).append(torch.cat(self._parts, 2))
        self._parts = []

    def steps(self) -> list[list[Tensor]]:
        """Forward passes, each with its layers in order."""
        return [list(step) for step in zip(*(self.calls[layer] for layer in sorted(self.calls)), strict=True)]


def largest_difference(ours: Sequence[Tensor], theirs: Sequence[Tensor], attended: Tensor) -> float:
    """Over all layers and the rows of real tokens; ``attended`` has shape (B, N), of which the last Q are queries."""
    assert len(ours) == len(theirs)
    differences = []
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        real = attended[:, -mine.shape[2] :].bool()
        differences.append((mine - other).abs().amax((1, 3))[real].max().item())
    return max(differences)


def longer(inputs: Mapping[str, Any], sequences: Tensor, name: str) -> dict[str, Any]:
    """The inputs of one forward pass over prompt and generated tokens, the last of these left out."""
    grown = {**inputs, "input_ids": sequences[:, :-1]}
    added = grown["input_ids"].shape[1] - inputs["input_ids"].shape[1]
    # PaliGemma's type 1 marks tokens after its bidirectional prefix.
    values = {"attention_mask": 1, "token_type_ids": int(name.startswith("paligemma")), "mm_token_type_ids": 0}
    for key, value in values.items():
        if key in inputs:
            grown[key] = torch.nn.functional.pad(inputs[key], (0, added), value=value)
    return grown


def calmer(name: str) -> TinyFamily:
    """The family with flatter attention: otherwise rounding with and without a cache can differ by 4e-4."""
    return _calmer(name, torch.get_default_dtype())


@cache
def _calmer(name: str, dtype: torch.dtype) -> TinyFamily:
    model = copy.deepcopy(tiny(name).model).to(dtype)
    for layer in model.get_decoder().layers:
        getattr(layer.self_attn, "q_norm", layer.self_attn.q_proj).weight.data.mul_(0.2)
    return TinyFamily(name, model, tiny(name).processor)
