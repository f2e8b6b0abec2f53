"""Answer tracking: an answer's probability read from the last prompt token after each layer. Owns how it is read.

Zhang et al., "Cross-modal Information Flow in Multimodal Large Language Models" (arXiv 2411.18620), read hidden states
without the final norm, except those of the last layer, which transformers returns with it; so their curves jump there.
With the norm at every layer, all layers are read in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datasetkit.hi_scoring.interventions.prompt_pass import PromptPass, logits_of, norm_of
from datasetkit.hi_scoring.model.dialogue import Dialogue

TRACKED = ("answer", "Answer", "false option", "False option")


def track(model: Any, prompt: PromptPass, tokens: Sequence[int | None], *, final_norm: bool) -> Tensor:
    """Return the probability of tokens at every layer.

    Args:
        model: the model that read the prompt.
        prompt: the pass over the prompt.
        tokens: T token ids; None for one that does not exist.
        final_norm: whether all layers are read through it; if not, only the last one is, as in the reference.

    Returns:
        shape (layers + 1, T), float64, from the input of the first layer to the output of the last one; NaN for None.

    """
    normed = norm_of(model)(prompt.hidden)
    hidden = normed if final_norm else torch.cat([prompt.hidden[:-1], normed[-1:]])
    probabilities = logits_of(model, hidden).softmax(-1).cpu().double()
    missing = torch.full((len(hidden),), torch.nan, dtype=torch.float64)
    return torch.stack([missing if token is None else probabilities[:, token] for token in tokens], dim=1)


def tracked_tokens(dialogue: Dialogue, written: str, answer: str, false_option: str | None) -> tuple[int | None, ...]:
    """Return the first token of each of ``TRACKED``, as a response that follows a prompt."""
    texts = [text for one in (answer, false_option) for text in ((one, one and one.capitalize()))]
    return tuple(dialogue.first_token(written, text) if text else None for text in texts)
