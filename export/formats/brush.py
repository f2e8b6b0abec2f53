"""Brush masks of Label Studio: bit-packed runs of pixels. Owns the packing.

The format is thi.ng's rle-pack (github.com/thi-ng/umbrella, packages/rle-pack) of the bytes of an RGBA image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.mask import BoolArray

_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_LONGEST_RUN = 2 ** _LENGTH_BITS[-1]


def brush_rle(mask: BoolArray) -> bytes:
    """Pack a mask of shape (H, W), dtype bool, as Label Studio does: opaque white inside, all zeros outside."""
    pixels = mask.ravel()
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(pixels)) + 1, [pixels.size]])
    return rle_pack(np.where(pixels[bounds[:-1]], np.uint8(255), np.uint8(0)), 4 * np.diff(bounds))


def rle_pack(values: NDArray[np.uint8], lengths: NDArray[np.int64]) -> bytes:
    """Pack runs of equal values.

    The header has 32 bits for the number of values, 5 bits for the size of a value and 4 bits for each of the four
    sizes of run lengths, all sizes minus one. Each run has a bit 1, two bits that select the size, the length minus
    one, and the value. Zeros fill the last byte. A run that is too long is split.

    Args:
        values: value of each run, shape (R,), uint8, range [0, 255].
        lengths: length of each run, shape (R,), int64, at least 1; their sum is at most 2**32 - 1.

    """
    bits = [f"{lengths.sum():032b}{_VALUE_BITS - 1:05b}", *(f"{size - 1:04b}" for size in _LENGTH_BITS)]
    for value, length in zip(values.tolist(), lengths.tolist(), strict=True):
        for first in range(0, length, _LONGEST_RUN):
            last = min(length - first, _LONGEST_RUN) - 1
            choice = next(index for index, size in enumerate(_LENGTH_BITS) if last < 2**size)
            bits.append(f"1{choice:02b}{last:0{_LENGTH_BITS[choice]}b}{value:08b}")
    text = "".join(bits)
    size = -(-len(text) // 8)
    return int(text.ljust(8 * size, "0"), 2).to_bytes(size, "big")
