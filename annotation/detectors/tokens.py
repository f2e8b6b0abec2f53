"""Tokens with the offsets of their characters. Owns how tokenizers are called so that the offsets are right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from datasetkit.core.errors import ModelError

_SURROGATE = re.compile("[\ud800-\udfff]")


def check_tokenizer(tokenizer: Any, model: str) -> None:
    """Check that a tokenizer returns the character offsets of its tokens.

    Raises:
        ModelError: it does not.

    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"the tokenizer of {model} returns no offsets; use a checkpoint with a tokenizer.json")


def text_offsets(tokenizer: Any, text: str) -> list[tuple[int, int]]:
    """Return the [start, end) of every token of a text, code points, without special tokens."""
    encoded = tokenizer(
        [readable(text)],
        add_special_tokens=False,
        return_offsets_mapping=True,
        split_special_tokens=True,
        verbose=False,
    )
    return [(start, end) for start, end in encoded["offset_mapping"][0]]


def encode_prompts(
    tokenizer: Any, texts: Sequence[str], token_max: int | None = None
) -> tuple[dict[str, torch.Tensor], list[list[tuple[int, int]]]]:
    """Encode texts as one batch, padded on the right.

    Words that look like special tokens ("[SEP]") are read as words.

    Args:
        tokenizer: one that passed :func:`check_tokenizer`.
        texts: any Unicode.
        token_max: longer texts lose their last tokens, but not the special ones; None for no limit.

    Returns:
        Tensors of shape (B, T) by name, dtype int64, and for each text the offsets of its T tokens; those of special
        and padding tokens are empty.

    """
    encoded = tokenizer(
        [readable(text) for text in texts],
        padding=True,
        padding_side="right",
        truncation=token_max is not None,
        max_length=token_max,
        return_offsets_mapping=True,
        return_token_type_ids=True,
        split_special_tokens=True,
        verbose=False,
        return_tensors="pt",
    )
    offsets = encoded.pop("offset_mapping").tolist()
    return dict(encoded), [[(start, end) for start, end in row] for row in offsets]


def readable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer can read, by U+FFFD; the text keeps its length."""
    return _SURROGATE.sub("\ufffd", text)
