"""The text encoder of the original groundingdino-py. Owns what keeps the package working with current transformers.

The package dates from 2023. Its ``BertModelWarper`` takes a BERT model apart and calls methods of transformers 4 that
are gone (``get_head_mask``, ``get_extended_attention_mask``), and it fetches encoder and tokenizer by a name in the
configuration. Here a :class:`TextEncoder` and a :class:`PromptTokenizer` replace them while the model is built; the
package's files stay as they are, and its modules are restored afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from transformers import BatchEncoding, BertModel

from datasetkit.annotation.detectors.tokens import encode_prompt, pad_right
from datasetkit.core.errors import ModelError

SUPPORTED_MAJOR = 5


class TextEncoder(BertModel):
    """BERT that accepts the attention mask of Grounding DINO, which says which token sees which.

    Supports transformers from 5.0 up to, not including, 6.0: there ``BertModel`` accepts a mask with four axes. Its
    parameters have the names that the package's checkpoints use.
    """

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> Any:
        """Encode tokens.

        Args:
            input_ids: shape (batch, token), int64.
            attention_mask: shape (batch, token, token), bool: whether the token of axis 1 sees that of axis 2; or of
                shape (batch, token): which tokens are not padding.
            token_type_ids: shape (batch, token), int64.
            position_ids: shape (batch, token), int64.

        Returns:
            BERT's output, with ``last_hidden_state`` of shape (batch, token, hidden).

        """
        if attention_mask.dim() == 3:
            # Added to the attention logits: the only form that all of its implementations accept.
            added = torch.zeros_like(attention_mask, dtype=self.dtype)
            attention_mask = added.masked_fill(~attention_mask, torch.finfo(self.dtype).min)[:, None]
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
        )


class PromptTokenizer:
    """A tokenizer that returns offsets, with the interface that the package calls; it reads any text as text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, captions: Sequence[str], padding: str, return_tensors: str) -> BatchEncoding:
        """Encode captions; the package requests tensors, padded to the longest, and nothing else is supported."""
        if (padding, return_tensors) != ("longest", "pt"):
            raise ValueError(
                f"padding {padding!r}, tensors {return_tensors!r}; groundingdino-py 0.4.0 asks for longest, pt"
            )
        return BatchEncoding(pad_right([encode_prompt(self.tokenizer, caption) for caption in captions]))

    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        """Look up tokens."""
        ids: list[int] = self.tokenizer.convert_tokens_to_ids(list(tokens))
        return ids


def check_transformers(version: str) -> None:
    """Check that a version of transformers is supported by :class:`TextEncoder`.

    Raises:
        ModelError: it is not.

    """
    if int(version.partition(".")[0]) != SUPPORTED_MAJOR:
        raise ModelError(
            f"the detector groundingdino-py works with transformers from 5.0, below 6.0; {version} is installed; "
            f"install a supported version or use the detector grounding-dino"
        )


@contextmanager
def in_place_of_package_bert(package: Any, encoder: TextEncoder, tokenizer: PromptTokenizer) -> Iterator[None]:
    """Replace encoder and tokenizer of ``groundingdino.models.GroundingDINO.groundingdino`` inside a with block."""
    fetchers, warper = package.get_tokenlizer, package.BertModelWarper
    package.get_tokenlizer = SimpleNamespace(
        get_tokenlizer=lambda _: tokenizer, get_pretrained_language_model=lambda _: encoder
    )
    package.BertModelWarper = lambda bert_model: bert_model
    try:
        yield
    finally:
        package.get_tokenlizer, package.BertModelWarper = fetchers, warper
