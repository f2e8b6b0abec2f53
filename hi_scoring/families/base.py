"""The facts needed about a family of models. Owns the interface, and how most families encode prompt and response."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from PIL import Image

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.geometry import ImageTokens

# A response that no chat template writes on its own.
_MARK = "qqq"


class Family(ABC):
    """Facts of one family; a subclass holds no state.

    Attributes:
        model_types: ``config.model_type`` of its models.
        needs_torchvision: whether its processors need torchvision.
        response_tail: number of tokens after the response in a row of a batch.

    """

    model_types: ClassVar[tuple[str, ...]]
    needs_torchvision: ClassVar[bool] = False
    response_tail: ClassVar[int] = 0

    @abstractmethod
    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """Compute what each image token of an image shows, from the settings of the processor.

        Args:
            processor: the model's processor.
            config: the model's configuration.
            size_hw: height and width of the upright original, px.

        Raises:
            ModelError: the processor has settings that are not supported.
            UnusableError: the processor cannot handle images of that shape.

        """

    def prompt(self, processor: Any, text: str) -> str:
        """Return the model's input before its response: an image, then a text, in the chat template.

        Raises:
            ModelError: the processor has no chat template.

        """
        return _by_template(processor, [_asked(text)], add_generation_prompt=True)

    def closing(self, processor: Any) -> str:
        """Return the end of the model's turn: the first special token that the chat template adds after a response.

        If the template adds none, it is the end-of-text token.
        """
        answered = {"role": "assistant", "content": [{"type": "text", "text": _MARK}]}
        after = _by_template(processor, [_asked("?"), answered]).rpartition(_MARK)[2]
        found = [
            (after.index(token), -len(token), token) for token in special_tokens(processor.tokenizer) if token in after
        ]
        closing: str = min(found)[2] if found else processor.tokenizer.eos_token
        return closing

    def inputs(
        self, processor: Any, images: Sequence[Image.Image], prompts: Sequence[str], responses: Sequence[str] | None
    ) -> Any:
        """Encode a left-padded batch, each response right after its prompt (teacher forcing).

        Args:
            processor: the model's processor.
            images: one per sample, mode RGB.
            prompts: the prompts, as returned by :meth:`prompt`.
            responses: the model's responses; None for prompts only.

        Returns:
            everything that the processor makes; with less, models fail silently.

        """
        if responses is None:
            responses = [""] * len(prompts)
        texts = [prompt + joined(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        begins = processor.tokenizer.bos_token
        return processor(
            images=[[image] for image in images],
            text=texts,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            # Some chat templates write the begin-of-text token themselves.
            add_special_tokens=not (begins and prompts[0].startswith(begins)),
        )

    def response_tokens(self, processor: Any, prompt: str, response: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the tokens of a response that follows a prompt.

        Returns:
            their ids, and [start, end) of each in code points of the response.

        """
        text = prompt + joined(prompt, response)
        return tokens_after(processor.tokenizer, text, len(text) - len(response))


def _asked(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}


def _by_template(processor: Any, turns: list[dict[str, Any]], **options: bool) -> str:
    if not processor.chat_template:
        raise ModelError(
            f"the {type(processor).__name__} has no chat template; use a checkpoint that was tuned for chat"
        )
    written: str = processor.apply_chat_template(turns, tokenize=False, **options)
    return written


def tokens_after(tokenizer: Any, text: str, begin: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the tokens that contain a character from ``begin`` on: ids, and spans counted from there."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    kept = [
        (number, (max(start - begin, 0), end - begin))
        for number, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        if end > begin
    ]
    return [number for number, _ in kept], [span for _, span in kept]


def joined(prompt: str, response: str) -> str:
    """Return the response, with a leading space unless the prompt ends in one, as models were trained."""
    return response if not response or prompt[-1:].isspace() else f" {response}"


def special_tokens(tokenizer: Any) -> list[str]:
    """Return the tokens that are not text: those with a role, and those added without one, such as tags of tiles."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return [token for token in dict.fromkeys((*tokenizer.all_special_tokens, *added)) if token]
