"""Loss of the detector: boxes are matched to objects one to one, and classified by the tokens of their phrases.

The loss in transformers for this architecture has wrong targets if the prompts of a batch differ, and never trains the
head that proposes boxes; this one fixes both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional

_ALPHA, _GAMMA = 0.25, 2.0
_CLASS, _L1, _GIOU = 2.0, 5.0, 2.0


@dataclass(frozen=True)
class Targets:
    """Objects of B images, padded to N.

    Args:
        boxes: shape (B, N, 4), centre and side lengths relative to the image.
        tokens: shape (B, N, T), float: 1 for tokens of phrases that name the object.
        valid: shape (B, N), dtype bool.
        text: shape (B, T), dtype bool: tokens that count.

    """

    boxes: torch.Tensor
    tokens: torch.Tensor
    valid: torch.Tensor
    text: torch.Tensor


def set_loss(logits: torch.Tensor, boxes: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
    """Return the losses of the predictions of one layer.

    Args:
        logits: shape (B, Q, T).
        boxes: shape (B, Q, 4), centre and side lengths relative to the image.
        targets: true objects.

    Returns:
        weighted losses of classes, of distances and of overlaps.

    """
    # Tokens of padding have logits of minus infinity.
    logits = logits.masked_fill(~targets.text[:, None], 0.0)
    with torch.no_grad():
        rows, queries, objects = _match(logits, boxes, targets)
    wanted = torch.zeros_like(logits)
    wanted[rows, queries] = targets.tokens[rows, objects]
    count = max(1, len(rows))
    focal = _focal(logits, wanted) * targets.text[:, None]
    chosen, true = boxes[rows, queries], targets.boxes[rows, objects]
    return {
        "class": _CLASS * focal.sum() / count,
        "l1": _L1 * (chosen - true).abs().sum() / count,
        "giou": _GIOU * (1 - giou(chosen, true)).sum() / count,
    }


def _match(
    logits: torch.Tensor, boxes: torch.Tensor, targets: Targets
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the indices of matched images, predictions and objects, at minimum cost."""
    probability = logits.sigmoid()
    as_true = -_ALPHA * (1 - probability) ** _GAMMA * probability.clamp(min=1e-8).log()
    as_false = -(1 - _ALPHA) * probability**_GAMMA * (1 - probability).clamp(min=1e-8).log()
    share = targets.tokens / targets.tokens.sum(-1, keepdim=True).clamp(min=1)
    cost = _CLASS * (as_true - as_false) @ share.transpose(1, 2)
    cost = cost + _L1 * (boxes[:, :, None] - targets.boxes[:, None]).abs().sum(-1)
    cost = cost - _GIOU * giou(boxes[:, :, None], targets.boxes[:, None])
    found: list[tuple[int, int, int]] = []
    for row, (matrix, valid) in enumerate(zip(cost.float().cpu().numpy(), targets.valid.cpu().numpy(), strict=True)):
        pairs = zip(*linear_sum_assignment(matrix[:, valid]), strict=True)
        found.extend((row, int(query), int(item)) for query, item in pairs)
    rows, queries, objects = torch.tensor(found, device=logits.device).reshape(-1, 3).unbind(1)
    return rows, queries, objects


def _focal(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    miss = (logits.sigmoid() - wanted).abs()
    return entropy * miss**_GAMMA * (_ALPHA * wanted + (1 - _ALPHA) * (1 - wanted))


def giou(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the generalised IoU of boxes (..., 4), each centre and side lengths; shapes broadcast."""
    low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    low_other, high_other = others[..., :2] - others[..., 2:] / 2, others[..., :2] + others[..., 2:] / 2
    overlap = (torch.minimum(high, high_other) - torch.maximum(low, low_other)).clamp(min=0).prod(-1)
    union = boxes[..., 2:].prod(-1) + others[..., 2:].prod(-1) - overlap
    hull = (torch.maximum(high, high_other) - torch.minimum(low, low_other)).prod(-1)
    return overlap / union.clamp(min=1e-8) - (hull - union) / hull.clamp(min=1e-8)
