"""What a model writes of pictures, greedily. Owns the settings of generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from datasetkit.hi_scoring.model.dialogue import Dialogue


class Writer:
    """Lets one model write.

    Args:
        model: an image-text-to-text model of a known family, in evaluation mode.
        processor: its processor.
        dialogue: how it is spoken to.

    """

    def __init__(self, model: Any, processor: Any, dialogue: Dialogue) -> None:
        self._model = model
        self._tokenizer = processor.tokenizer
        self._dialogue = dialogue

    @torch.inference_mode()
    def write(self, images: Sequence[Image.Image], prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Give the likeliest token each time, whatever else the checkpoint's generation config says.

        Args:
            images: B of them, mode RGB.
            prompts: what the model is asked of each, in plain words.
            max_new_tokens: how much it may write.

        Returns:
            B texts without special tokens and outer spaces.

        Raises:
            RuntimeError: as torch does when memory runs out.

        """
        written = [self._dialogue.prompt(prompt) for prompt in prompts]
        inputs = on_device(self._dialogue.encode(images, written, None), self._model)
        tokens = self._model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        new = tokens[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self._tokenizer.batch_decode(new, skip_special_tokens=True)]


def on_device(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Move a batch to where a model is, its numbers to the model's type."""
    device, dtype = model.device, model.dtype
    return {
        name: value.to(device, dtype if value.is_floating_point() else None) if torch.is_tensor(value) else value
        for name, value in inputs.items()
    }
