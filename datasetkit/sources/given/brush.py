"""Label Studio's run lengths of brushes, which are not COCO's. Owns their decoding and its limits.

Source: HumanSignal/label-studio-converter, ``brush.py``. The bytes are one stream of bits, the highest first: 32 bits
number of values, 5 bits size of a value - 1, four times 4 bits size of a run length - 1; then blocks of 1 bit kind, 2
bits which size, a run length - 1, and one value that is repeated (kind 1) or one value each (kind 0). Values are the
red, green, blue and alpha of pixels, row by row; the mask is where alpha is not 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datasetkit.core.mask import BoolArray
from datasetkit.sources.given.drawn import check_pixels

_CHANNELS = 4


class _Bits:
    """A cursor over bits; reading beyond the end is a ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, bits: int) -> int:
        start, self._at = self._at, self._at + bits
        if self._at > 8 * len(self._data):
            raise ValueError("the run lengths of the brush end too early")
        end = -(-self._at // 8)
        return (int.from_bytes(self._data[start // 8 : end]) >> (8 * end - self._at)) & ((1 << bits) - 1)


def decode_brush(runs: Sequence[int], width: int, height: int) -> BoolArray:
    """Decode the mask of a brush, shape (H, W).

    Raises:
        UnusableError: ``bad_mask`` for too many pixels.
        ValueError: the runs are not those of an image of this size.

    """
    check_pixels(width, height)
    bits = _Bits(bytes(runs))
    count = bits.number(32)
    if count != width * height * _CHANNELS:
        raise ValueError(
            f"the brush has {count} values; an image of {width}x{height} px has {width * height * _CHANNELS}"
        )
    value_bits = bits.number(5) + 1
    length_bits = [bits.number(4) + 1 for _ in range(4)]
    found = np.zeros(count, dtype=np.bool_)
    at = 0
    while at < count:
        is_repeated = bits.number(1)
        length = bits.number(length_bits[bits.number(2)]) + 1
        if at + length > count:
            raise ValueError(f"the runs of the brush exceed its {count} values")
        if is_repeated:
            found[at : at + length] = bits.number(value_bits) > 0
        else:
            found[at : at + length] = [bits.number(value_bits) > 0 for _ in range(length)]
        at += length
    return found.reshape(height, width, _CHANNELS)[:, :, -1]
