"""Conversion between a SAM's frame and the image's. Owns how boxes go in, and how mask logits become packed bits.

A SAM sees an image resized to an input size, and padded to a square on the right and at the bottom (SAM) or not at all
(SAM 2). Everything here stays on the device of the logits, and waits for nothing: masks are resized, measured, cut and
packed there, several at a time as far as memory allows, and the caller copies the rows of an image to the host at once.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from datasetkit.core.detections import FloatArray

Size = tuple[int, int]

# A mask is where its logits are above 0; the stability score compares cuts this much higher and lower.
_STABILITY_OFFSET = 1.0
# Float logits that are resized at once; more are not faster. A 12-megapixel mask alone needs 48 MB.
_BYTES_AT_ONCE = 2**24


def scale_boxes(boxes_xyxy: FloatArray, size_hw: Size, input_hw: Size) -> FloatArray:
    """Scale boxes of shape (N, 4) from an image of ``size_hw`` to the same image at ``input_hw``, both in px."""
    (height, width), (input_height, input_width) = size_hw, input_hw
    return boxes_xyxy * (np.array([input_width, input_height] * 2) / np.array([width, height] * 2))


def pack_masks(
    logits: torch.Tensor,
    predicted_ious: torch.Tensor,
    size_hw: Size,
    *,
    padding: tuple[Size, Size] | None = None,
) -> list[torch.Tensor]:
    """Resize masks to the image and pack them into bytes.

    Args:
        logits: shape (N, h, w), N at least 1.
        predicted_ious: the model's estimates, shape (N,); NaN where it has none.
        size_hw: height and width of the image, px.
        padding: height and width of the padded input, and of the image in it, px; None if the input is not padded.

    Returns:
        a row for each mask, dtype uint8, on the same device; :mod:`datasetkit.annotation.segmenters.packed` describes
        and reads it.

    """
    largest_px = max(math.prod(size_hw), 0 if padding is None else math.prod(padding[0]))
    at_once = max(1, _BYTES_AT_ONCE // (torch.float32.itemsize * largest_px))
    rows: list[torch.Tensor] = []
    for part, ious in zip(logits.split(at_once), predicted_ious.split(at_once), strict=True):
        rows.extend(_packed(resize(part if padding is None else unpad(part, *padding), size_hw), ious))
    return rows


def unpad(logits: torch.Tensor, padded_hw: Size, input_hw: Size) -> torch.Tensor:
    """Enlarge logits of shape (N, h, w) to the padded input, and crop the padding, as segment-anything does.

    Returns:
        Shape (N, *input_hw), float32.

    """
    return resize(logits, padded_hw)[:, : input_hw[0], : input_hw[1]]


def resize(logits: torch.Tensor, size_hw: Size) -> torch.Tensor:
    """Resize logits of shape (N, h, w) bilinearly to ``size_hw``, float32."""
    return functional.interpolate(logits.float()[:, None], size_hw, mode="bilinear", align_corners=False)[:, 0]


def _packed(logits: torch.Tensor, predicted_ious: torch.Tensor) -> torch.Tensor:
    """Return the rows, shape (N, bytes), of logits of shape (N, H, W) in the image's frame."""
    # Minimum and maximum pass NaN on, and are much cheaper than a test of every logit.
    low, high = logits.amin((1, 2)), logits.amax((1, 2))
    numbers = torch.stack(
        [
            low.isfinite() & high.isfinite(),
            high > 0,
            _eights(logits > _STABILITY_OFFSET).sum(2, dtype=torch.uint8).sum((1, 2)),
            _eights(logits > -_STABILITY_OFFSET).sum(2, dtype=torch.uint8).sum((1, 2)),
        ],
        dim=1,
    )
    header = [numbers.int().view(torch.uint8), predicted_ious.float()[:, None].view(torch.uint8)]
    shifts = torch.arange(8, dtype=torch.uint8, device=logits.device)[:, None]
    bits = (_eights(logits > 0) << shifts).sum(2, dtype=torch.uint8)
    return torch.cat([*header, bits.transpose(1, 2).flatten(1)], dim=1)


def _eights(inside: torch.Tensor) -> torch.Tensor:
    """Group the rows of masks, shape (N, H, W), dtype bool, by eight: shape (N, ceil(H / 8), 8, W), dtype uint8."""
    missing = -inside.shape[1] % 8
    pixels = inside.view(torch.uint8)
    return (functional.pad(pixels, (0, 0, 0, missing)) if missing else pixels).unflatten(1, (-1, 8))
