"""Attention of sparse heads in one compiled kernel (flex_attention), for GPUs. Owns its sizes, and where it runs.

Keys are the shared tokens, then all tokens of the prompt: a row sees the copy of a shared token at the front once it
has left the window, and the token itself within it. So each row sees a few blocks at the front and a few around itself,
which are computed without visiting any pair.

Compiling takes seconds for each new size, so sizes are rounded up and prompts of all lengths share a few kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128
# Sizes are rounded up to a multiple of their highest power of two divided by this.
_STEPS = 4
# Kernels per process, one for each size of prompts. Beyond its default limit, torch silently computes all pairs.
_MOST_KERNELS = 1024
_LEAST_WIDTH = 16


class FlexAttention:
    """Like :class:`datasetkit.hi_scoring.sparse.blocks.BlockAttention`, with the same arguments.

    Args:
        kernel: the attention function; torch's uncompiled function where nothing can be compiled, which is slow.

    """

    def __init__(
        self,
        shared: NDArray[np.int64],
        length: int,
        window: int,
        like: Tensor,
        kernel: Callable[..., Any] | None = None,
    ) -> None:
        self._front, self._rows = size_of(len(shared), length)
        self._kernel = kernel or _compiled()
        # Padding comes after every row, so no row sees it.
        places = np.pad(shared, (0, self._front - len(shared)), constant_values=self._rows)
        self._shared = torch.from_numpy(shared).to(like.device)
        self.block_mask = _block_mask(places, self._rows, window, like.device)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
        groups: Sequence[int] | None = None,  # noqa: ARG002 - each number of heads would be compiled separately
    ) -> Tensor:
        """Compute all rows of all heads, whichever are requested; see :meth:`BlockAttention.attend`."""
        length = query.shape[1]
        with torch._dynamo.config.patch(recompile_limit=_MOST_KERNELS):
            output = self._kernel(
                functional.pad(query, (0, 0, 0, self._rows - length))[None],
                self._laid_out(key),
                self._laid_out(value),
                block_mask=self.block_mask,
                scale=scaling,
                enable_gqa=query.shape[0] != key.shape[0],
            )
        rows: Tensor = output[0, :, :length].transpose(0, 1)
        return rows

    def _laid_out(self, part: Tensor) -> Tensor:
        """Return shared tokens followed by all tokens: (G, N, D) to (1, G, front + rows, D), with zeros as padding."""
        groups, length, width = part.shape
        laid = part.new_zeros(1, groups, self._front + self._rows, width)
        laid[0, :, : len(self._shared)] = part[:, self._shared]
        laid[0, :, self._front : self._front + length] = part
        return laid


def fault(device: torch.device, width: int) -> str | None:
    """Return why no kernel can be compiled for heads of a width on a device; None if one can."""
    if device.type != "cuda":
        return f"it needs CUDA, and the model is on {device.type}"
    if find_spec("triton") is None:
        return "it needs triton, which is not installed"
    if width < _LEAST_WIDTH or width & (width - 1):
        return f"the width of heads must be a power of two from {_LEAST_WIDTH}, and is {width}"
    return None


def size_of(shared: int, length: int) -> tuple[int, int]:
    """Return the key of a prompt's kernel: slots for its shared tokens, and for all of its tokens."""
    return rounded_up(max(shared, 1)), rounded_up(length)


def rounded_up(size: int) -> int:
    """Return a size rounded up to whole blocks, and to one of few sizes: at most a quarter more, or one block."""
    step = max(BLOCK, (1 << (size.bit_length() - 1)) // _STEPS)
    return size + -size % step


@cache
def _compiled() -> Callable[..., Any]:
    # Dynamic shapes break flex_attention's kernels in some versions of torch.
    return torch.compile(flex_attention, dynamic=False)


def _block_mask(places: NDArray[np.int64], rows: int, window: int, device: torch.device) -> BlockMask:
    """Return the mask of key blocks in which each block of rows sees at least one key.

    Args:
        places: positions of the tokens at the front, ascending, a multiple of ``BLOCK`` of them.
        rows: number of rows, a multiple of ``BLOCK``.
        window: number of tokens that a row sees up to itself.
        device: where the mask is used.

    """
    front = len(places)
    blocks = np.arange(rows // BLOCK)
    last_rows = blocks * BLOCK + BLOCK - 1
    sees_front = places[::BLOCK] <= last_rows[:, None] - window
    first_seen = np.maximum(blocks * BLOCK + 1 - window, 0) // BLOCK
    sees_beside = (first_seen[:, None] <= blocks) & (blocks <= blocks[:, None])
    sees = np.concatenate([sees_front, sees_beside], axis=1)
    order = np.argsort(~sees, axis=1, kind="stable")
    counts, indices = (torch.from_numpy(part.astype(np.int32)).to(device)[None, None] for part in (sees.sum(1), order))
    positions = torch.from_numpy(places.astype(np.int32)).to(device)

    def is_seen(_: Tensor, __: Tensor, row: Tensor, slot: Tensor) -> Tensor:
        is_front = slot < front
        distance = row - torch.where(is_front, positions[torch.where(is_front, slot, 0)], slot - front)
        return torch.where(is_front, distance >= window, (distance >= 0) & (distance < window))

    return BlockMask.from_kv_blocks(counts, indices, BLOCK_SIZE=BLOCK, mask_mod=is_seen)
