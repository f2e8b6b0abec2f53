"""Conversion between a SAM's frame and the image's. Owns how boxes go in, and how mask logits become run lengths.

A SAM sees an image resized to an input size, and padded to a square on the right and at the bottom (SAM) or not at all
(SAM 2). Everything here is pure, in float32, and handles one mask at a time: at full size a chunk of masks would not
fit into memory.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from datasetkit.core.detections import FloatArray, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask

Size = tuple[int, int]

# A mask is where its logits are above 0; the stability score compares cuts this much higher and lower.
_STABILITY_OFFSET = 1.0
_DIGITS = 6


def scale_boxes(boxes_xyxy: FloatArray, size_hw: Size, input_hw: Size) -> FloatArray:
    """Scale boxes of shape (N, 4) from an image of ``size_hw`` to the same image at ``input_hw``, both in px."""
    (height, width), (input_height, input_width) = size_hw, input_hw
    return boxes_xyxy * (np.array([input_width, input_height] * 2) / np.array([width, height] * 2))


def unpad(logits: torch.Tensor, padded_hw: Size, input_hw: Size) -> torch.Tensor:
    """Enlarge logits of shape (h, w) to the padded input, and crop the padding, as segment-anything does.

    Returns:
        Shape ``input_hw``, float32.

    """
    return resize(logits, padded_hw)[: input_hw[0], : input_hw[1]]


def resize(logits: torch.Tensor, size_hw: Size) -> torch.Tensor:
    """Resize logits of shape (h, w) bilinearly to ``size_hw``, float32."""
    return functional.interpolate(logits.float()[None, None], size_hw, mode="bilinear", align_corners=False)[0, 0]


def stability_score(logits: torch.Tensor) -> float | None:
    """Return the IoU of the masks cut at logits 1 and -1; None where both are empty.

    Equals ``calculate_stability_score`` of segment-anything: one mask always contains the other.

    Args:
        logits: shape (H, W), in the image's frame.

    """
    intersection = int((logits > _STABILITY_OFFSET).sum())
    union = int((logits > -_STABILITY_OFFSET).sum())
    return round(intersection / union, _DIGITS) if union else None


def segment_of(logits: torch.Tensor, predicted_iou: float | None) -> Segment | UnusableError:
    """Make a segment from one mask's logits, or an error where they are not finite.

    Args:
        logits: shape (H, W), in the image's frame.
        predicted_iou: the model's estimate, which may be slightly outside [0, 1]; NaN and infinity count as missing.

    """
    if not bool(logits.isfinite().all()):
        return UnusableError(DropReason.NOT_FINITE, "the segmenter's mask logits are not finite")
    inside = logits > 0
    mask = Mask.from_array(inside.cpu().numpy()) if bool(inside.any()) else None
    if predicted_iou is not None:
        predicted_iou = round(min(max(predicted_iou, 0.0), 1.0), _DIGITS) if math.isfinite(predicted_iou) else None
    return Segment(mask, predicted_iou, stability_score(logits))
