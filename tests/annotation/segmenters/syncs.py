"""Counts what makes the host wait for the device, on machines without one too.

On the CPU nothing waits, so calls are counted: of every operation of torch that hands values of a tensor to Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, resolve_name

# Each would copy from the device, or wait for the size of its result.
_SYNCING = frozenset(
    f"torch.{name}"
    for name in (
        *("Tensor.cpu", "Tensor.item", "Tensor.tolist", "Tensor.nonzero", "Tensor.unique", "Tensor.masked_select"),
        *("Tensor.__bool__", "Tensor.__int__", "Tensor.__float__", "Tensor.__index__", "Tensor.__array__"),
        *("Tensor.__contains__", "Tensor.is_nonzero", "Tensor.equal", "Tensor.allclose"),
        *("nonzero", "unique", "masked_select", "is_nonzero", "equal", "allclose", "argwhere"),
    )
)


class Syncs(TorchFunctionMode):
    """While it is active, notes each call that would make the host wait.

    Attributes:
        calls: the name of each, such as ``torch.Tensor.cpu``.

    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = resolve_name(func) or ""
        is_picked = name == "torch.Tensor.__getitem__" and getattr(args[1], "dtype", None) is torch.bool
        # A device of a model, which is the CPU here, is no string.
        is_moved = name == "torch.Tensor.to" and any(one == "cpu" for one in (*args[1:], *(kwargs or {}).values()))
        if name in _SYNCING or is_picked or is_moved:
            self.calls.append(name)
        return func(*args, **(kwargs or {}))
