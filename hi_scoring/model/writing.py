"""Greedy generation of texts about images. Owns the settings of generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from datasetkit.hi_scoring.model.dialogue import Dialogue

# Always the most likely token, regardless of a checkpoint's generation config.
GREEDY: Mapping[str, Any] = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}


@torch.inference_mode()
def write(
    model: Any, dialogue: Dialogue, images: Sequence[Image.Image], prompts: Sequence[str], max_new_tokens: int
) -> list[str]:
    """Generate a text greedily for each of B images and plain prompts, with a model in evaluation mode.

    Returns:
        B texts without special tokens and surrounding spaces.

    Raises:
        RuntimeError: raised by torch when memory runs out.

    """
    written = [dialogue.prompt(prompt) for prompt in prompts]
    inputs = on_device(dialogue.encode(images, written, None), model)
    pad = dialogue.tokenizer.pad_token_id
    tokens = model.generate(**inputs, **GREEDY, max_new_tokens=max_new_tokens, pad_token_id=pad)
    new = tokens[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in dialogue.tokenizer.batch_decode(new, skip_special_tokens=True)]


def on_device(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Return a batch on the model's device, with floating-point values in the model's type."""
    device, dtype = model.device, model.dtype
    return {
        name: value.to(device, dtype if value.is_floating_point() else None) if torch.is_tensor(value) else value
        for name, value in inputs.items()
    }
