"""An image, a prompt and a response as a model's input. Owns where a response is among the tokens.

The response follows its prompt directly (teacher forcing); rows of a batch are padded on the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from datasetkit.core.errors import DatasetkitError, ModelError, PluginError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.hi_scoring.families import family_of
from datasetkit.hi_scoring.families.base import special_tokens
from datasetkit.hi_scoring.geometry import ImageTokens
from datasetkit.options.heads import FAMILIES


class Dialogue:
    """The input format of one model.

    Args:
        family: family of the model, if it is not found by the model's type; see :func:`family_of`.

    Attributes:
        closing: the end of the model's turn in a text: its end token, by the chat template; blank if the processor adds
            one.
        tokenizer: the processor's tokenizer.

    """

    def __init__(self, processor: Any, config: Any, family: str | None = None) -> None:
        self._family = family_of(config, family)
        self._plugin = FAMILIES.origin(family or config.model_type)
        self._processor = processor
        self._config = config
        self.tokenizer = processor.tokenizer
        self._special = special_tokens(self.tokenizer)
        self._longest = getattr(config.get_text_config(), "max_position_embeddings", None)
        self.closing = self._family.closing(processor)
        self.prompt = cache(partial(self._family.prompt, processor))

    def geometry(self, image: Image.Image) -> ImageTokens:
        """Return what each image token of an image shows.

        Raises:
            UnusableError: ``too_narrow``.

        """
        return self._family.image_tokens(self._processor, self._config, (image.height, image.width))

    def check(self, image: Image.Image, *texts: str) -> None:
        """Refuse an image and texts that do not fit into any batch.

        Raises:
            UnusableError: ``special_token``: a text contains one, and would be misread; ``too_narrow``;
                ``text_too_long``: image and texts are too long even without the tokens around them.

        """
        for text in texts:
            found = self.special_token(text)
            if found:
                raise UnusableError(DropReason.SPECIAL_TOKEN, f"the text has {found!r}, a special token of the model")
        self._check_length(self._length(image, texts))

    def check_turn(self, image: Image.Image, prompt: str, response: str) -> None:
        """Refuse a turn that does not fit into a batch with its :attr:`closing`; see :meth:`check`.

        Raises:
            UnusableError: as :meth:`check` does; ``text_too_long`` counts the tokens around the texts, too.

        """
        self.check(image, prompt, response)
        # Template and tags of tiles are far shorter than this, so only texts near the limit have to be encoded.
        if self._longest is not None and 2 * self._length(image, (prompt, response)) > self._longest:
            self.encode([image], [self.prompt(prompt)], [response + self.closing])

    def special_token(self, text: str) -> str | None:
        """Return a special token that a text contains; None if it contains none."""
        return next((token for token in self._special if token in text), None)

    def encode(
        self, images: Sequence[Image.Image], prompts: Sequence[str], responses: Sequence[str] | None
    ) -> dict[str, Any]:
        """Encode a left-padded batch.

        Args:
            images: B of them, mode RGB.
            prompts: as returned by :attr:`prompt`.
            responses: the model's responses; None for prompts only.

        Returns:
            everything that the processor made, on the CPU.

        Raises:
            UnusableError: ``text_too_long``; in a batch the longest row decides.

        """
        inputs = self._family.inputs(self._processor, images, prompts, responses)
        self._check_length(int(inputs["attention_mask"].sum(-1).max()))
        return dict(inputs)

    def target(self, ids: Tensor, prompt: str, response: str) -> Tensor:
        """Return where the training target is in its row of a batch: a response with its :attr:`closing`.

        Returns:
            slots, shape (T,), int64.

        """
        slots, _ = self.response(ids, prompt, response + self.closing)
        return torch.arange(int(slots[0]), len(ids))

    def _length(self, image: Image.Image, texts: Sequence[str]) -> int:
        """Return the number of tokens of an image and texts, without those around them."""
        return self.geometry(image).count + sum(len(self.tokenizer(text).input_ids) for text in texts)

    def _check_length(self, length: int) -> None:
        if self._longest is not None and length > self._longest:
            raise UnusableError(DropReason.TEXT_TOO_LONG, f"{length} tokens; the model accepts at most {self._longest}")

    def response(self, ids: Tensor, prompt: str, response: str) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
        """Return where a response is in its row of a batch.

        Args:
            ids: the row's tokens, shape (N,).
            prompt: as it was encoded.
            response: as it was encoded.

        Returns:
            slots of its tokens, shape (T,), int64, at least one; and [start, end) of each in code points of the text.

        Raises:
            ModelError: the model's processor does not place tokens as the family states.

        """
        token_ids, offsets = self._family.response_tokens(self._processor, prompt, response)
        end = len(ids) - self._family.response_tail
        slots = torch.arange(end - len(token_ids), end)
        if not token_ids or ids[slots].tolist() != list(token_ids):
            raise self._misfit(
                f"the response {response[:40]!r} is not at the end of the processor's tokens; response_tokens"
            )
        return slots, tuple(offsets)

    def image_slots(self, ids: Tensor, geometry: ImageTokens) -> Tensor:
        """Return the slots of the image tokens in a row of a batch, shape (M,), in their order.

        Raises:
            ModelError: there are more or fewer than in the image's geometry.

        """
        slots = (ids == self._config.image_token_id).nonzero()[:, 0]
        if len(slots) != geometry.count:
            raise self._misfit(
                f"an image of {geometry.size_hw} px (height, width) became {len(slots)} image tokens, not "
                f"{geometry.count}; image_tokens"
            )
        return slots

    def first_token(self, written: str, response: str) -> int | None:
        """Return the first token of a response that follows a prompt; None if the response has no token."""
        tokens, _ = self._family.response_tokens(self._processor, written, response)
        return tokens[0] if tokens else None

    def first_tokens(self, written: str, answer: str) -> tuple[int, ...]:
        """Return the first tokens of an answer as it is, in lower case and capitalised.

        Returns:
            each token once, that of the answer as it is first; empty if it has no token. The unknown token is left out
            of the other spellings.

        """
        found, *others = (self.first_token(written, text) for text in (answer, answer.lower(), answer.capitalize()))
        known = [token for token in others if token != self.tokenizer.unk_token_id]
        return tuple(dict.fromkeys(token for token in (found, *known) if token is not None))

    def _misfit(self, what: str) -> DatasetkitError:
        """Return the error for a family whose facts do not fit the model."""
        if self._plugin is not None:
            return PluginError(f"{self._plugin}: {what} does not fit this model")
        return ModelError(f"{what} of {type(self._family).__name__} in hi_scoring/families does not fit this processor")
