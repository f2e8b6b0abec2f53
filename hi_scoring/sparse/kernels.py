"""Kernels for sparse heads. Owns their names, the devices they work on, and the key by which they are compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.sparse import flex
from datasetkit.hi_scoring.sparse.blocks import BlockAttention
from datasetkit.hi_scoring.sparse.prompts import Prompt

Kernel = Literal["blocks", "flex"]


class LocalAttention(Protocol):
    """Attention over shared tokens and a window in one prompt; see :class:`BlockAttention`."""

    def __init__(self, shared: NDArray[np.int64], length: int, window: int, like: Tensor) -> None: ...

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, groups: Sequence[int] | None = None
    ) -> Tensor:
        """Compute all rows of at least the heads of these groups, (N, H, D)."""
        ...


_KINDS: dict[Kernel, type[LocalAttention]] = {"blocks": BlockAttention, "flex": flex.FlexAttention}


def check_kernel(kernel: Kernel, device: torch.device, width: int) -> None:
    """Refuse a kernel that does not work on a device; never replace it silently.

    Raises:
        ModelError: it does not work there.

    """
    why = flex.fault(device, width) if kernel == "flex" else None
    if why is not None:
        raise ModelError(f"kernel {kernel} is not possible: {why}; use blocks")


def head_width(config: Any) -> int:
    """Return the width of the heads of a model's text decoder, from its configuration."""
    text = config.get_text_config()
    return getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads


def local_attention(kernel: Kernel, prompt: Prompt, window: int, like: Tensor) -> LocalAttention:
    """Return the attention of the sparse heads of a prompt whose keys are ``like`` these, (G, N, D).

    Raises:
        ModelError: the kernel does not work there.

    """
    check_kernel(kernel, like.device, like.shape[-1])
    return _KINDS[kernel](prompt.shared, prompt.length, window, like)


def size_of(kernel: Kernel, prompt: Prompt) -> tuple[int, ...]:
    """Return the key by which a kernel is compiled for a prompt; the same for all prompts if nothing is compiled."""
    return flex.size_of(len(prompt.shared), prompt.length) if kernel == "flex" else ()
