"""Many short texts after one image. Owns the shared reading of an image for all of its captions and questions.

The keys and values of the image's tokens are computed once and shared; gradients flow back through all texts. The
model computes the same for each text as if the image had been read for this text only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, LlavaForConditionalGeneration, PreTrainedTokenizerFast

_GROUPS = 4
CAPTION = "caption"

Prefix = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Block:
    """A prompt with the expected text.

    Args:
        row: index of its image in the batch.
        ids: tokens after the image's, to the end of the text.
        answer_start: index of the first token of the answer.
        kind: type of the question, or "caption".

    """

    row: int
    ids: tuple[int, ...]
    answer_start: int
    kind: str

    @property
    def is_caption(self) -> bool:
        """Whether it is a caption, not a question."""
        return self.kind == CAPTION


def encode_block(tokenizer: PreTrainedTokenizerFast, row: int, prompt: str, answer: str, kind: str = CAPTION) -> Block:
    """Encode a prompt and its answer as in the chat template."""
    before = tokenizer(f"{prompt} ASSISTANT:").input_ids
    after = tokenizer(f"{answer}</s>").input_ids
    return Block(row, (*before, *after), len(before), kind)


def image_prefix(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, features: torch.Tensor
) -> Prefix:
    """Return keys and values of each layer for the beginning of the turn and the image.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        features: projected patches, shape (B, P, D).

    Returns:
        For each layer keys and values, each (B, heads, positions, head size).

    """
    opening = torch.tensor(tokenizer("<s>USER:").input_ids, device=features.device)
    words = model.get_input_embeddings()(opening).expand(len(features), -1, -1)
    cache = DynamicCache()
    model.model.language_model(inputs_embeds=torch.cat([words, features], dim=1), past_key_values=cache, use_cache=True)
    layers: Any = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


def block_logits(
    model: LlavaForConditionalGeneration, prefix: Prefix, blocks: Sequence[Block]
) -> Iterator[tuple[list[Block], torch.Tensor]]:
    """Yield groups of blocks of similar length with their logits, shape (N, longest, V).

    The logits at position t predict the token at position t + 1; those after the end of a block are meaningless.
    """
    order = sorted(blocks, key=lambda block: len(block.ids))
    size = -(-len(order) // _GROUPS)
    for first in range(0, len(order), size):
        group = order[first : first + size]
        longest = len(group[-1].ids)
        device = prefix[0][0].device
        ids = torch.tensor([(*block.ids, *[0] * (longest - len(block.ids))) for block in group], device=device)
        rows = torch.tensor([block.row for block in group], device=device)
        cache = DynamicCache()
        for number, (keys, values) in enumerate(prefix):
            cache.update(keys[rows], values[rows], number)
        output = model.model.language_model(
            inputs_embeds=model.get_input_embeddings()(ids), past_key_values=cache, use_cache=True
        )
        yield group, model.lm_head(output.last_hidden_state)
