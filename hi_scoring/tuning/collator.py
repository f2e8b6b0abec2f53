"""Examples as training batches. Owns the labels: in each row, the response and the token that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from datasetkit.hi_scoring.data.examples import Example, Examples
from datasetkit.hi_scoring.model.dialogue import Dialogue

# The label that the losses of transformers ignore.
IGNORED = -100


class TuningSet(torch.utils.data.Dataset[tuple[Example, Image.Image]]):
    """Examples with their images, which are read on access."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> tuple[Example, Image.Image]:
        example = self._examples.items[index]
        return example, self._examples.image(example)


def collate(dialogue: Dialogue, items: Sequence[tuple[Example, Image.Image]]) -> dict[str, Any]:
    """Encode B examples as a batch for one model, left-padded.

    Returns:
        everything that the processor makes, and ``labels``, int64 of shape (B, N): the tokens of the response and of
        the end of the model's turn; :data:`IGNORED` at prompt, image, padding and template.

    """
    prompts = [dialogue.prompt(example.prompt) for example, _ in items]
    said = [example.response + dialogue.closing for example, _ in items]
    inputs = dialogue.encode([image for _, image in items], prompts, said)
    labels = torch.full_like(inputs["input_ids"], IGNORED)
    for row, ((example, _), prompt) in enumerate(zip(items, prompts, strict=True)):
        ids = inputs["input_ids"][row]
        slots = dialogue.target(ids, prompt, example.response)
        labels[row, slots] = ids[slots]
    return {**inputs, "labels": labels}
