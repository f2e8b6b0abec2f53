"""What is to be known of a family of models. Owns the interface, and how most families take prompt and response."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from PIL import Image

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.geometry import ImageTokens

# A response that no chat template writes by itself.
_MARK = "qqq"


class Family(ABC):
    """Facts of one family; a subclass holds no state.

    Attributes:
        model_types: ``config.model_type`` of its models.
        needs_torchvision: whether its processors do.
        response_tail: how many tokens stand after the response in a row of a batch.

    """

    model_types: ClassVar[tuple[str, ...]]
    needs_torchvision: ClassVar[bool] = False
    response_tail: ClassVar[int] = 0

    @abstractmethod
    def image_tokens(self, processor: Any, config: Any, size_hw: tuple[int, int]) -> ImageTokens:
        """Say what each image token of an image shows, by the arithmetic of the processor as it is set up.

        Args:
            processor: the model's.
            config: the model's.
            size_hw: height and width of the upright original, px.

        Raises:
            ModelError: the processor is set up in a way that is not known.
            UnusableError: the processor takes no image of that shape.

        """

    def prompt(self, processor: Any, text: str) -> str:
        """Write what the model is given before its response: an image, then a text, by the chat template.

        Raises:
            ModelError: the processor has none.

        """
        return _by_template(processor, [_asked(text)], add_generation_prompt=True)

    def closing(self, processor: Any) -> str:
        """Write what ends the model's turn: the first special token that the chat template sets after a response.

        Where the template sets none, it is the token that ends a text.
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
            processor: the model's.
            images: one a sample, mode RGB.
            prompts: as :meth:`prompt` writes them.
            responses: what the model says; None for nothing yet.

        Returns:
            everything that the processor makes; models that are given less than that go wrong without a word.

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
            # Some chat templates write the token that begins a text themselves.
            add_special_tokens=not (begins and prompts[0].startswith(begins)),
        )

    def response_tokens(self, processor: Any, prompt: str, response: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Say which tokens a response is where it follows a prompt.

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
            f"the {type(processor).__name__} has no chat template; give a checkpoint that was tuned for chat"
        )
    written: str = processor.apply_chat_template(turns, tokenize=False, **options)
    return written


def tokens_after(tokenizer: Any, text: str, begin: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Give the tokens that hold a character from ``begin`` on: ids, and spans counted from there."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    kept = [
        (number, (max(start - begin, 0), end - begin))
        for number, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        if end > begin
    ]
    return [number for number, _ in kept], [span for _, span in kept]


def joined(prompt: str, response: str) -> str:
    """Set a space before a response where its prompt ends in none, as models were taught to write."""
    return response if not response or prompt[-1:].isspace() else f" {response}"


def special_tokens(tokenizer: Any) -> list[str]:
    """Give the tokens that are no text: those with a role, and those that are added without one, as tags of tiles."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return [token for token in dict.fromkeys((*tokenizer.all_special_tokens, *added)) if token]
