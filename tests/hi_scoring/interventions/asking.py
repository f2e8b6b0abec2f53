"""Questions for tiny models, and the positions of their parts in a left-padded batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from datasetkit.hi_scoring.interventions.edges import Edges, Window
from datasetkit.hi_scoring.interventions.positions import find_positions
from datasetkit.hi_scoring.interventions.questions import ClosedQuestion
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.options.head_forms import PositionSet
from tests.hi_scoring.images import sample
from tests.hi_scoring.tiny_parts import HEADS, LAYERS, TinyFamily

TEMPLATE = "{question} answer {options} ."
LONG, SHORT = "what colour is the square left of the blue circle ?", "what colour ?"


def question(text: str = LONG, row: int = 0, **more: Any) -> ClosedQuestion:
    """A question about the first square of a sample."""
    given = {
        "row": row,
        "number": 0,
        "record_id": f"sample-{row}",
        "picture_id": f"sample-{row}",
        "category": "colour",
        "question": text,
        "answer": "red",
        "options": ("red", "blue"),
        "template": TEMPLATE,
        "masks": sample(row).objects[:1],
    }
    return ClosedQuestion(**{**given, **more})


@dataclass(frozen=True)
class Batch:
    """Questions as a model's input."""

    inputs: dict[str, Any]
    places: Sequence[Mapping[PositionSet, Tensor]]

    @property
    def length(self) -> int:
        return self.inputs["input_ids"].shape[1]


def put(family: TinyFamily, *items: ClosedQuestion, images: Sequence[Image.Image] | None = None) -> Batch:
    """Encode questions, each on the image of its sample."""
    shown = images or [sample(item.row).image for item in items]
    dialogue = Dialogue(family.processor, family.model.config)
    inputs = dialogue.encode(shown, [dialogue.prompt(item.prompt) for item in items], None)
    places = [
        find_positions(dialogue, item, ids, dialogue.geometry(image))
        for item, ids, image in zip(items, inputs["input_ids"], shown, strict=True)
    ]
    return Batch(inputs, places)


def blocked(
    edges: Sequence[Edges], windows: Sequence[Window], length: int, heads: Sequence[tuple[int, int]] | None = None
) -> Tensor:
    """The input of :mod:`tests.hi_scoring.interventions.slow`: (layers, B, H, N, N); B is at least 1."""
    found = torch.zeros(LAYERS, max(1, len(edges)), HEADS, length, length, dtype=torch.bool)
    for row, (one, (first, stop)) in enumerate(zip(edges, windows, strict=True)):
        for layer in range(first, stop):
            for head in range(HEADS):
                if heads is None or (layer, head) in heads:
                    for target, keys in zip(one.targets.tolist(), one.keys, strict=True):
                        found[layer, row, head, target] |= keys
    return found
