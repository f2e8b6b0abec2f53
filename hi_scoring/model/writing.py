"""What a model writes of images, greedily. Owns the settings of generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from datasetkit.hi_scoring.model.dialogue import Dialogue

# The likeliest token each time, whatever else a checkpoint's generation config says.
GREEDY: Mapping[str, Any] = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}


@torch.inference_mode()
def write(
    model: Any, dialogue: Dialogue, images: Sequence[Image.Image], prompts: Sequence[str], max_new_tokens: int
) -> list[str]:
    """Let a model in evaluation mode say something to each of B images and prompts in plain words, greedily.

    Returns:
        B texts without special tokens and outer spaces.

    Raises:
        RuntimeError: as torch does when memory runs out.

    """
    written = [dialogue.prompt(prompt) for prompt in prompts]
    inputs = on_device(dialogue.encode(images, written, None), model)
    pad = dialogue.tokenizer.pad_token_id
    tokens = model.generate(**inputs, **GREEDY, max_new_tokens=max_new_tokens, pad_token_id=pad)
    new = tokens[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in dialogue.tokenizer.batch_decode(new, skip_special_tokens=True)]


def on_device(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Move a batch to where a model is, its numbers to the model's type."""
    device, dtype = model.device, model.dtype
    return {
        name: value.to(device, dtype if value.is_floating_point() else None) if torch.is_tensor(value) else value
        for name, value in inputs.items()
    }
