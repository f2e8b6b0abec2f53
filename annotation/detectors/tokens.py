"""Tokens with the offsets of their characters. Owns how tokenizers are called so that the offsets are right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The tokens of one text.

    Args:
        arrays: what a model takes, by name; each of shape (T,), dtype int64.
        offsets: [start, end) of the characters of each token; those of special tokens are empty.
        pad_id: id of padding tokens.

    """

    arrays: dict[str, NDArray[np.int64]]
    offsets: tuple[tuple[int, int], ...]
    pad_id: int


def encode_prompt(tokenizer: Any, text: str, token_max: int | None = None) -> Encoded:
    """Encode a text; words that look like special tokens ("[SEP]") are read as words.

    Args:
        tokenizer: one that passed :func:`check_tokenizer`.
        text: any Unicode.
        token_max: a longer text loses its last tokens, but not the special ones; None for no limit.

    """
    encoded = tokenizer(
        readable(text),
        truncation=token_max is not None,
        max_length=token_max,
        return_offsets_mapping=True,
        return_token_type_ids=True,
        return_attention_mask=True,
        split_special_tokens=True,
        verbose=False,
    )
    offsets = tuple((start, end) for start, end in encoded.pop("offset_mapping"))
    arrays = {name: np.array(values, dtype=np.int64) for name, values in encoded.items()}
    return Encoded(arrays, offsets, tokenizer.pad_token_id)


def pad_right(texts: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    """Return the arrays of several texts as tensors of shape (B, T), padded on the right to the longest text."""
    longest = max(len(text.offsets) for text in texts)
    tensors = {}
    for name in texts[0].arrays:
        rows = np.full((len(texts), longest), texts[0].pad_id if name == "input_ids" else 0)
        for row, text in zip(rows, texts, strict=True):
            row[: len(text.offsets)] = text.arrays[name]
        tensors[name] = torch.from_numpy(rows)
    return tensors


def readable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer can read, by U+FFFD; the text keeps its length."""
    return _SURROGATE.sub("\ufffd", text)
