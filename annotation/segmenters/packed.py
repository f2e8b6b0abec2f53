"""Masks as they leave the device: one row of bytes each. Owns their layout, and how they become segments on the host.

A row is a header of numbers, followed by the mask's pixels as bits: of each column from the top, lowest bit first, each
column in whole bytes. It is written in :mod:`datasetkit.annotation.segmenters.masks`; nothing here uses torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.detections import Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask

# Whether all logits are finite, whether any is above 0, px above the higher and above the lower cut of the stability
# score, and the model's estimate of the IoU, NaN if it has none.
HEADER = np.dtype(
    [("is_finite", "i4"), ("is_set", "i4"), ("higher_px", "i4"), ("lower_px", "i4"), ("predicted_iou", "f4")]
)
_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class PackedMasks:
    """The masks of one image.

    Args:
        rows: shape (N, bytes), dtype uint8.
        size_hw: height and width of the image, px.

    """

    rows: NDArray[np.uint8]
    size_hw: tuple[int, int]


def segments_of(masks: PackedMasks) -> list[Segment] | UnusableError:
    """Convert the masks of one image into segments; return an error if the logits of one are not finite."""
    segments: list[Segment] = []
    for segment in read_packed(masks.rows, masks.size_hw):
        if isinstance(segment, UnusableError):
            return segment
        segments.append(segment)
    return segments


def read_packed(rows: NDArray[np.uint8], size_hw: tuple[int, int]) -> list[Segment | UnusableError]:
    """Convert packed masks into segments.

    Stability is the IoU of the masks at the two cuts, None where both are empty. It equals
    ``calculate_stability_score`` of segment-anything, as one mask always contains the other.

    Args:
        rows: shape (N, bytes), dtype uint8, of :func:`datasetkit.annotation.segmenters.masks.pack_masks`.
        size_hw: height and width of the image, px.

    Returns:
        one segment per mask, or an error where its logits are not finite.

    """
    headers = rows[:, : HEADER.itemsize].copy().view(HEADER)[:, 0].tolist()
    return [_segment(header, row[HEADER.itemsize :], size_hw) for header, row in zip(headers, rows, strict=True)]


def _segment(
    header: tuple[int, int, int, int, float], bits: NDArray[np.uint8], size_hw: tuple[int, int]
) -> Segment | UnusableError:
    is_finite, is_set, higher_px, lower_px, predicted_iou = header
    if not is_finite:
        return UnusableError(DropReason.NOT_FINITE, "the segmenter's mask logits are not finite")
    height, width = size_hw
    return Segment(
        mask=Mask.from_packed(bits.reshape(width, -1), height) if is_set else None,
        # The estimate may be slightly outside [0, 1].
        predicted_iou=round(min(max(predicted_iou, 0.0), 1.0), _DIGITS) if math.isfinite(predicted_iou) else None,
        stability=round(higher_px / lower_px, _DIGITS) if lower_px else None,
    )
