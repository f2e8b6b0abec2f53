"""Samples as a batch for a model. Owns where tokens are: image tokens, response, phrases, last prompt token.

The response follows the prompt directly (teacher forcing), so one forward pass has the rows of every position. The
attention that produces token t is in row t - 1: this is the convention ``predicting``, the default; ``at`` uses row t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from datasetkit.hi_scoring.data.samples import Sample
from datasetkit.hi_scoring.geometry import ImageTokens
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.options.heads import ScoreOptions


@dataclass(frozen=True)
class EncodedSample:
    """Positions of tokens in one row of a batch. Slots count from the left end of the padded row.

    Args:
        sample: the encoded sample.
        geometry: what each image token shows.
        image_slots: slots of the image tokens in their order, shape (M,).
        response_slots: slots of the response's tokens, shape (T,); not empty.
        offsets: [start, end) of each response token in code points of the text.
        first_slot: slot of the sample's first token; everything before it is padding.

    """

    sample: Sample
    geometry: ImageTokens
    image_slots: Tensor
    response_slots: Tensor
    offsets: tuple[tuple[int, int], ...]
    first_slot: int

    @property
    def last_slot(self) -> int:
        """The slot of the last prompt token."""
        return int(self.response_slots[0]) - 1

    def slots_of(self, spans: Sequence[tuple[int, int]]) -> Tensor:
        """Return the slots of response tokens that share a character with any of the spans, shape (T',)."""
        hit = [
            any(start < span_end and span_start < end for span_start, span_end in spans) for start, end in self.offsets
        ]
        return self.response_slots[torch.tensor(hit, dtype=torch.bool)]


@dataclass(frozen=True)
class EncodedBatch:
    """Everything that the processor made for the model, on the CPU, and the positions of tokens in each row."""

    inputs: dict[str, Any]
    rows: tuple[EncodedSample, ...]


class Encoder:
    """Encodes samples as batches for one model."""

    def __init__(self, dialogue: Dialogue, prompt: str) -> None:
        self.dialogue = dialogue
        self._prompt = dialogue.prompt(prompt)

    def check(self, sample: Sample) -> None:
        """Refuse a sample that does not fit into any batch; see :meth:`Dialogue.check`."""
        self.dialogue.check(sample.image, sample.text)

    def encode(self, samples: Sequence[Sample], responses: Sequence[str] | None = None) -> EncodedBatch:
        """Encode B samples that passed :meth:`check`, left-padded, with responses other than their texts if given.

        Raises:
            ModelError: the model's processor does not place tokens as the family states.
            UnusableError: ``text_too_long``, for a single sample; in a batch the longest row decides.

        """
        texts = [sample.text for sample in samples] if responses is None else list(responses)
        inputs = self.dialogue.encode([sample.image for sample in samples], [self._prompt] * len(samples), texts)
        rows = []
        for sample, text, ids, attended in zip(
            samples, texts, inputs["input_ids"], inputs["attention_mask"], strict=True
        ):
            geometry = self.dialogue.geometry(sample.image)
            image_slots = self.dialogue.image_slots(ids, geometry)
            slots, offsets = self.dialogue.response(ids, self._prompt, text)
            first_slot = int(attended.nonzero()[0, 0])
            rows.append(EncodedSample(sample, geometry, image_slots, slots, offsets, first_slot))
        return EncodedBatch(inputs, tuple(rows))


def rows_of(slots: Tensor, options: ScoreOptions) -> Tensor:
    """Return the query rows that are read for tokens, by the convention of the options."""
    return slots - 1 if options.convention == "predicting" else slots
