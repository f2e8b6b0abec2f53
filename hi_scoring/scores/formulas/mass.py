"""Attention mass: the share of a head's attention on the relevant image tokens. Owns RAM and its chance levels.

RAM was introduced by Sun et al., "Mechanistic Insights into Functional Sparsity in Multimodal LLMs via CoRe Heads"
(arXiv 2606.05843). The division by the mass on all image tokens and the chance levels are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attention_mass(attention: Tensor, evidence: Tensor, visible_keys: float) -> dict[str, Tensor]:
    """Sum attention over evidence and over all image tokens.

    Args:
        attention: (H, M) float64, shares of each head's whole attention on the M image tokens.
        evidence: (M,) float64 in [0, 1], weight of each token as evidence.
        visible_keys: number of keys that a row sees, image and text together; the harmonic mean over several rows.

    Returns:
        (H,) float64 each: ``ram``, ``ram_relative`` (RAM divided by the mass on the image; NaN where that is 0),
        ``image_mass``, and ``..._chance`` of each: its value if the attention on the image were spread evenly over the
        image tokens, or, for ``image_mass``, if all attention were spread evenly over the visible keys; the latter is
        NaN for a head without any attention on the image, which its layer may hide. Scores that need evidence are NaN
        without it.

    """
    tokens = attention.shape[1]
    image_mass = attention.sum(dim=1)
    evidence_share = torch.where(evidence.any(), evidence.sum() / tokens, torch.nan)
    ram = torch.where(evidence.any(), attention @ evidence, torch.nan)
    return {
        "ram": ram,
        "ram_chance": image_mass * evidence_share,
        "ram_relative": ram / image_mass,
        "ram_relative_chance": evidence_share.expand(image_mass.shape),
        "image_mass": image_mass,
        "image_mass_chance": torch.where(image_mass > 0, tokens / visible_keys, torch.nan),
    }
