"""Attention of sparse heads by blocks, in plain torch. Owns that every key is seen once, and the size of blocks.

Rows are split into chunks. A chunk's keys are the shared tokens before its band, then its band: the chunk itself and
the window before it. So a prompt costs N (S + W) products instead of N N / 2, and its masks have that size, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# Smaller chunks compute fewer masked products but copy more keys. Measured for windows of 128 with heads of 32 to 128.
_LEAST_CHUNK = 64
_CHUNKS_IN_WINDOW = 4
# Keys of a segment, copied for its chunks: as many as fit into a processor's cache, or keep a GPU busy.
_SEGMENT_BYTES = {"cpu": 4 * 2**20}
_SEGMENT_BYTES_ELSEWHERE = 256 * 2**20
# Share of all groups of heads: selecting a larger share costs as much as computing all of them.
_MOST_PICKED = 0.75
# Masks whose rows are not a multiple of this are copied by some of SDPA's kernels.
_MASK_STEP = 16


@dataclass(frozen=True, eq=False)
class _Segment:
    """A few chunks, n of C rows each, that are computed together.

    Args:
        start: its first row.
        stop: the row after its last one; the last chunk may be longer.
        keys: the keys of each chunk, (n, K) int64.
        mask: 0 where a row sees a key, otherwise -inf, (n, C, K).

    """

    start: int
    stop: int
    keys: Tensor
    mask: Tensor


class BlockAttention:
    """Attention over shared tokens and a window in one prompt; layers use it one after the other.

    Args:
        shared: tokens that every later row sees, ascending, (S,) int64.
        length: number of tokens N of the prompt.
        window: number of tokens that a row sees up to itself.
        like: keys of the first layer, (G, N, D), for their type, device and sizes.

    """

    def __init__(self, shared: NDArray[np.int64], length: int, window: int, like: Tensor) -> None:
        self._shared = shared
        self._length = length
        self._window = window
        self._like = like[:, :0]
        self._row_bytes = like.shape[0] * like.shape[2] * like.element_size()
        rows = -(-window // _CHUNKS_IN_WINDOW)
        self._chunk = max(_LEAST_CHUNK, rows + -rows % _MASK_STEP)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, groups: Sequence[int] | None = None
    ) -> Tensor:
        """Compute all rows of heads.

        Args:
            query: (H, N, D).
            key: (G, N, D).
            value: (G, N, D).
            scaling: factor of the scores before the softmax.
            groups: the groups whose heads are requested, ascending; None for all of them.

        Returns:
            shape (N, H, D); rows of heads that are not requested have arbitrary values.

        """
        per_group = query.shape[0] // key.shape[0]
        by_group = query.unflatten(0, (-1, per_group))
        output = query.new_empty(query.shape[1], *by_group.shape[:2], query.shape[2])
        takes_all = groups is None or len(groups) > _MOST_PICKED * len(key)
        some = slice(None) if takes_all else torch.tensor(groups, device=key.device)
        for segment in self._segments:
            rows = slice(segment.start, segment.stop)
            output[rows, some] = _attended(segment, by_group[:, :, rows][some], key, value, some, scaling)
        return output.flatten(1, 2)

    @cached_property
    def _segments(self) -> list[_Segment]:
        limit = _SEGMENT_BYTES.get(self._like.device.type, _SEGMENT_BYTES_ELSEWHERE)
        chunk_bytes = (len(self._shared) + self._chunk + self._window) * self._row_bytes
        rows = self._chunk * max(1, limit // chunk_bytes)
        return [self._segment(start, min(start + rows, self._length)) for start in range(0, self._length, rows)]

    def _segment(self, start: int, stop: int) -> _Segment:
        device = self._like.device
        firsts = torch.arange(start, stop, self._chunk, device=device)[:, None]
        band = firsts + torch.arange(-self._window, self._chunk, device=device)
        rows = firsts + torch.arange(self._chunk, device=device)
        distance = rows[:, :, None] - band[:, None]
        near = (distance >= 0) & (distance < self._window) & (band >= 0)[:, None]
        inside = band.clamp(0, self._length - 1)
        near |= (distance >= 0) & ((band >= 0) & self._is_shared[inside])[:, None]
        # Tokens in the last chunk's band or after it are before no chunk's band.
        last_band = int(start + (len(firsts) - 1) * self._chunk - self._window)
        before = self._shared[: np.searchsorted(self._shared, last_band)]
        filling = -(len(before) + band.shape[1]) % _MASK_STEP
        far = torch.from_numpy(np.pad(before, (0, filling), constant_values=self._length)).to(device)
        is_before = (far < band[:, :1])[:, None].expand(-1, self._chunk, -1)
        keys = torch.cat([far.clamp(max=self._length - 1).expand(len(firsts), -1), inside], 1)
        seen = torch.cat([is_before, near], 2)
        mask = torch.zeros(seen.shape, dtype=self._like.dtype, device=device).masked_fill_(~seen, -torch.inf)
        return _Segment(start, stop, keys, mask)

    @cached_property
    def _is_shared(self) -> Tensor:
        found = np.zeros(self._length, np.bool_)
        found[self._shared] = True
        return torch.from_numpy(found).to(self._like.device)


def _attended(
    segment: _Segment, query: Tensor, key: Tensor, value: Tensor, groups: slice | Tensor, scaling: float
) -> Tensor:
    """Compute the rows of a segment: (g, H/G, rows, D) and (G, N, D) twice to (rows, g, H/G, D), for g of G groups."""
    chunks, rows, seen = segment.mask.shape
    count, per_group, length, width = query.shape
    query = functional.pad(query, (0, 0, 0, chunks * rows - length))
    # Heads that share keys become more rows of one head, so no kernel has to repeat keys for them.
    query = query.view(count, per_group, chunks, rows, width).permute(2, 0, 1, 3, 4)
    mask = segment.mask[:, None].expand(-1, per_group, -1, -1)
    found = functional.scaled_dot_product_attention(
        query.reshape(chunks, count, per_group * rows, width),
        _gathered(key, segment.keys, groups),
        _gathered(value, segment.keys, groups),
        attn_mask=mask.reshape(chunks, 1, per_group * rows, seen),
        scale=scaling,
    )
    found = found.view(chunks, count, per_group, rows, width).permute(0, 3, 1, 2, 4)
    return found.reshape(chunks * rows, count, per_group, width)[:length]


def _gathered(part: Tensor, keys: Tensor, groups: slice | Tensor) -> Tensor:
    """Pick (n, g, K, D) from (G, N, D) by (n, K), whichever of heads and tokens comes first in memory."""
    if part.is_contiguous():
        places = groups if isinstance(groups, slice) else groups[:, None, None]
        return part[places, keys].transpose(0, 1)
    places = keys if isinstance(groups, slice) else keys[:, :, None]
    return part.transpose(0, 1)[places, groups].transpose(1, 2)
