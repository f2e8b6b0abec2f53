"""Answer tracking: how probable an answer is by what each layer has made of the last prompt token. Owns its reading.

Zhang et al., "Cross-modal Information Flow in Multimodal Large Language Models" (arXiv 2411.18620), read hidden states
without the final norm, but for those of the last layer, which transformers gives with it; so their curves jump there.
With the norm everywhere all layers are read alike.
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
    """Read the probability of tokens at every layer.

    Args:
        model: that read the prompt.
        prompt: what it read.
        tokens: T of them; None for one that there is not.
        final_norm: whether all layers are read through it; if not, the last alone is, as in the reference.

    Returns:
        shape (layers + 1, T), float64, from what the first layer is given to what the last one gives; NaN for None.

    """
    normed = norm_of(model)(prompt.hidden)
    hidden = normed if final_norm else torch.cat([prompt.hidden[:-1], normed[-1:]])
    probabilities = logits_of(model, hidden).softmax(-1).cpu().double()
    missing = torch.full((len(hidden),), torch.nan, dtype=torch.float64)
    return torch.stack([missing if token is None else probabilities[:, token] for token in tokens], dim=1)


def tracked_tokens(dialogue: Dialogue, written: str, answer: str, false_option: str | None) -> tuple[int | None, ...]:
    """Give the first token of each of ``TRACKED``, as a response that follows a prompt."""
    texts = [text for one in (answer, false_option) for text in ((one, one and one.capitalize()))]
    return tuple(dialogue.first_token(written, text) if text else None for text in texts)
