"""Where a head attends in the image. Owns spatial entropy and pointing accuracy.

Spatial entropy follows the localization heads of Kang et al., "Your Large Vision-Language Model Only Needs A Few
Attention Heads For Visual Grounding" (arXiv 2503.06287), with a threshold relative to the map's maximum, masses
renormalised to sum 1, and NaN instead of 0 for a map without connected parts. Pointing is the pointing game of Zhang et
al., "Top-down Neural Attention by Excitation Backprop" (arXiv 1608.00507), on tokens.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_KEPT_SHARE = 0.05
_EIGHT_CONNECTED = np.zeros((3, 3, 3), dtype=bool)
_EIGHT_CONNECTED[1] = True


def spatial_entropy(attention: Tensor) -> Tensor:
    """Return the spatial entropy: that of the connected parts above the mean; 0 means a single part.

    Args:
        attention: (H, rows, columns) float32.

    Returns:
        (H,) float64 in nats, at least 0; NaN where nothing is above the mean.

    """
    above = (attention - attention.mean(dim=(1, 2), keepdim=True, dtype=torch.float64)).clamp(min=0).cpu().numpy()
    heads = len(above)
    kept = above > _KEPT_SHARE * above.max(axis=(1, 2), keepdims=True)
    labels, parts = ndimage.label(kept, structure=_EIGHT_CONNECTED)
    head, row, column = kept.nonzero()
    label = labels[head, row, column] - 1
    masses = np.bincount(label, weights=above[head, row, column], minlength=parts)
    head_of_part = np.zeros(parts, dtype=np.intp)
    head_of_part[label] = head
    totals = np.bincount(head_of_part, weights=masses, minlength=heads).astype(np.float64)
    shares = masses / totals[head_of_part]
    entropy = np.bincount(head_of_part, weights=-shares * np.log(shares), minlength=heads).astype(np.float64)
    entropy[totals == 0] = np.nan
    return torch.from_numpy(entropy).clamp(min=0).to(attention.device)


def pointing(attention: Tensor, evidence: Tensor) -> dict[str, Tensor]:
    """Return whether each head's most attended image token is evidence; ties count as their mean.

    Args:
        attention: (H, M) float.
        evidence: (M,) float64 in [0, 1], weight of each token as evidence.

    Returns:
        ``pointing`` and ``pointing_chance``, (H,) float64 in [0, 1]; NaN where there is no evidence, and for a head
        without any attention on the image.

    """
    highest = attention.amax(dim=1, keepdim=True)
    most = (attention == highest).double()
    defined = evidence.any() & (highest[:, 0] > 0)
    hits = torch.where(defined, most @ evidence / most.sum(dim=1), torch.nan)
    return {"pointing": hits, "pointing_chance": torch.where(defined, evidence.mean(), torch.nan)}
