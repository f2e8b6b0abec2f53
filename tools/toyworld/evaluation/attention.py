"""Attention of the vlm's heads when it is about to name the shape of an object.

Measured is the share of the attention to the image, from the token that predicts the noun, that is on the patches of
the object. Heads are chosen on one half of the scenes and scored on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from datasetkit.core.mask import BoolArray
from datasetkit.toyworld.descriptions import list_objects
from datasetkit.toyworld.domain import BASE
from tools.toyworld.evaluation.recipe import Example
from tools.toyworld.models.vlm import GRID, LIST_PROMPT

_CHOSEN = 5
_SHOWN_IN_PATCH = 0.15


@dataclass(frozen=True)
class _Shares:
    """Attention shares of N mentions: of every head, shape (N, layers, heads), uniform shares (N,), half (N,)."""

    heads: NDArray[np.float64]
    uniform: NDArray[np.float64]
    half: NDArray[np.int64]


def object_patches(masks: BoolArray) -> BoolArray:
    """Return the patches that show any of the objects (N, H, W), including the fullest one; shape (G * G,)."""
    height, width = masks.shape[1:]
    cells = masks.any(0).reshape(GRID, height // GRID, GRID, width // GRID).mean((1, 3)).ravel()
    return (cells >= _SHOWN_IN_PATCH) | (cells == cells.max())


def judge_attention(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, examples: Sequence[Example]
) -> dict[str, object]:
    """Return the shares of the best heads, and the median of all heads, compared with the uniform share."""
    shares = _collect(model, processor, examples)
    first, second = shares.half == 0, shares.half == 1
    chosen_by, scored = shares.heads[first].mean(0), shares.heads[second].mean(0)
    order = np.argsort(-chosen_by, axis=None, kind="stable")[:_CHOSEN]
    uniform = float(shares.uniform[second].mean())
    heads = [
        {
            "layer": int(layer),
            "head": int(head),
            "share_chosen": float(chosen_by[layer, head]),
            "share": float(scored[layer, head]),
        }
        for layer, head in zip(*np.unravel_index(order, chosen_by.shape), strict=True)
    ]
    return {
        "mentions": len(shares.half),
        "heads": heads,
        "all_heads": chosen_by.size,
        "median_share": float(np.median(scored)),
        "uniform_share": uniform,
        "heads_over_5_uniform": int((scored > 5 * uniform).sum()),
    }


def _collect(model: LlavaForConditionalGeneration, processor: LlavaProcessor, examples: Sequence[Example]) -> _Shares:
    heads, uniform, halves = [], [], []
    for number, example in enumerate(examples):
        for share, even in _mentions(model, processor, example):
            heads.append(share)
            uniform.append(even)
            halves.append(number % 2)
    return _Shares(np.array(heads), np.array(uniform), np.array(halves))


@torch.inference_mode()
def _mentions(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, example: Example
) -> Iterator[tuple[NDArray[np.float64], float]]:
    """Yield the share of every head (layers, heads) and the uniform share, per phrase of the true caption."""
    caption = list_objects(example.scene, BASE)
    turn: Any = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": LIST_PROMPT}]}
    opening = processor.apply_chat_template([turn], add_generation_prompt=True)
    inputs = processor(images=example.image, text=opening + caption.text, return_tensors="pt")
    attentions = model(**inputs, output_attentions=True).attentions
    rows = torch.stack(attentions)[:, 0].double().numpy()
    ids = inputs["input_ids"][0]
    image = (ids == model.config.image_token_id).numpy()
    caption_ids = processor.tokenizer(caption.text, return_offsets_mapping=True)
    start = len(ids) - len(caption_ids["input_ids"])
    ends = [end for _, end in caption_ids["offset_mapping"]]
    for phrase in caption.phrases:
        # A phrase ends with its noun, which the token before it predicts.
        query = start + ends.index(phrase.end) - 1
        on_image = rows[:, :, query, image]
        patches = object_patches(example.masks[list(phrase.object_ids)])
        yield on_image[:, :, patches].sum(-1) / on_image.sum(-1), float(patches.mean())
