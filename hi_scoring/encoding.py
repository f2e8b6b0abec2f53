"""Samples as a batch for a model. Owns which token stands where: image tokens, response, phrases, last prompt token.

The response follows the prompt at once (teacher forcing), so one forward pass gives the rows of every position. The
attention that produces token t is in row t - 1: that is the convention ``predicting``, the default; ``at`` takes row t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from datasetkit.errors import ModelError, UnusableError
from datasetkit.ledger import DropReason
from hi_scoring.families.base import Family
from hi_scoring.geometry import ImageTokens
from hi_scoring.options import ScoreOptions
from hi_scoring.samples import Sample


@dataclass(frozen=True)
class EncodedSample:
    """Where things are in one row of a batch. Slots count from the left end of the padded row.

    Args:
        sample: what was encoded.
        geometry: what each image token shows.
        image_slots: of the image tokens in their order, shape (M,).
        response_slots: of the response's tokens, shape (T,); not empty.
        offsets: [start, end) of each response token in code points of the text.
        first_slot: of the sample's first token; what stands before it is padding.

    """

    sample: Sample
    geometry: ImageTokens
    image_slots: Tensor
    response_slots: Tensor
    offsets: tuple[tuple[int, int], ...]
    first_slot: int

    @property
    def last_slot(self) -> int:
        """Of the last prompt token."""
        return int(self.response_slots[0]) - 1

    def slots_of(self, spans: Sequence[tuple[int, int]]) -> Tensor:
        """Slots of the response tokens that share a character with any of the spans, shape (T',)."""
        hit = [
            any(start < span_end and span_start < end for span_start, span_end in spans) for start, end in self.offsets
        ]
        return self.response_slots[torch.tensor(hit, dtype=torch.bool)]


@dataclass(frozen=True)
class EncodedBatch:
    """What the model is given, and where things are in it.

    Args:
        inputs: everything that the processor made, on the CPU.
        rows: one for each row of ``inputs["input_ids"]``.

    """

    inputs: dict[str, Any]
    rows: tuple[EncodedSample, ...]


class Encoder:
    """Turns samples into batches for one model.

    Args:
        family: of the model.
        processor: of the model.
        config: of the model.
        prompt: what the model is asked before its response.

    """

    def __init__(self, family: Family, processor: Any, config: Any, prompt: str) -> None:
        self._family = family
        self._processor = processor
        self._config = config
        self._prompt = family.prompt(processor, prompt)
        self._special = _special_tokens(processor.tokenizer)
        self._longest = getattr(config.get_text_config(), "max_position_embeddings", None)

    def check(self, sample: Sample) -> None:
        """Refuse a sample that no batch can hold.

        Raises:
            UnusableError: ``special_token``: the text holds one, and would read as something else; ``too_narrow``.

        """
        self._geometry(sample)
        found = self.special_token(sample.text)
        if found:
            raise UnusableError(DropReason.SPECIAL_TOKEN, f"the text holds {found!r}, a special token of the model")

    def special_token(self, text: str) -> str | None:
        """Give the special token that a text holds, if it does."""
        return next((token for token in self._special if token in text), None)

    def encode(self, samples: Sequence[Sample], responses: Sequence[str] | None = None) -> EncodedBatch:
        """Encode samples that passed :meth:`check`, left-padded to one length.

        Args:
            samples: B of them.
            responses: what follows the prompt, where it is not the samples' texts.

        Raises:
            ModelError: the model's processor does not place tokens as its family says.
            UnusableError: ``text_too_long``, of a single sample; of a batch the longest decides.

        """
        texts = [sample.text for sample in samples] if responses is None else list(responses)
        inputs = self._family.inputs(
            self._processor, [sample.image for sample in samples], [self._prompt] * len(samples), texts
        )
        ids, attended = inputs["input_ids"], inputs["attention_mask"]
        length = int(attended.sum(-1).max())
        if self._longest is not None and length > self._longest:
            raise UnusableError(DropReason.TEXT_TOO_LONG, f"{length} tokens; the model takes at most {self._longest}")
        rows = tuple(
            self._locate(sample, text, ids[number], attended[number])
            for number, (sample, text) in enumerate(zip(samples, texts, strict=True))
        )
        return EncodedBatch(dict(inputs), rows)

    def prompts(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Encode the prompt alone, for generation."""
        images = [sample.image for sample in samples]
        return dict(self._family.inputs(self._processor, images, [self._prompt] * len(samples), None))

    def _geometry(self, sample: Sample) -> ImageTokens:
        size_hw = (sample.image.height, sample.image.width)
        return self._family.image_tokens(self._processor, self._config, size_hw)

    def _locate(self, sample: Sample, text: str, ids: Tensor, attended: Tensor) -> EncodedSample:
        geometry = self._geometry(sample)
        image_slots = (ids == self._config.image_token_id).nonzero()[:, 0]
        if len(image_slots) != geometry.count:
            raise ModelError(
                f"a picture of {geometry.size_hw} px (height, width) became {len(image_slots)} image tokens, and "
                f"{type(self._family).__name__} expects {geometry.count}; its processor is set up in a way that "
                f"hi_scoring/families does not know"
            )
        token_ids, offsets = self._family.response_tokens(self._processor, self._prompt, text)
        end = len(ids) - self._family.response_tail
        slots = torch.arange(end - len(token_ids), end)
        if not token_ids or ids[slots].tolist() != list(token_ids):
            raise ModelError(
                f"the response {text[:40]!r} does not stand last among the tokens that the processor made; "
                f"{type(self._family).__name__}.response_tokens does not fit this tokenizer"
            )
        first_slot = int(attended.nonzero()[0, 0])
        return EncodedSample(sample, geometry, image_slots, slots, tuple(offsets), first_slot)


def _special_tokens(tokenizer: Any) -> list[str]:
    """Give the tokens that are no text: those with a role, and those that are added without one, as tags of tiles."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return [token for token in dict.fromkeys((*tokenizer.all_special_tokens, *added)) if token]


def rows_of(slots: Tensor, options: ScoreOptions) -> Tensor:
    """Turn tokens into the query rows that are read for them, by the convention of the options."""
    return slots - 1 if options.convention == "predicting" else slots
