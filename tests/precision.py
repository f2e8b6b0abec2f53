"""Float64 all the way through, so that no processor's rounding decides whether two computations of a model agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Float64 leaves less than 1e-12 between two ways to compute the same logits or attention, however peaky it is.
TOLERANCE = 1e-9
# What an edit changes in logits at the least, where it is to change them at all.
CHANGED = 1e-2


def allowed(error: float | Tensor) -> float:
    """Return how far float32 results may be from exact ones, by the error of a plain float32 computation of them."""
    return 10 * float(error) + 1e-6


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new tensors of this type while the body runs."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(former)


@contextmanager
def double_precision() -> Iterator[None]:
    """Compute in float64 while the body runs, also where code asks for float32, as norms and the softmax do.

    A double copy of a model is not enough: RMSNorm of transformers and the rows of our own attention are in float32
    whatever the model is, and that error grows with each layer. Holds in the thread of the body.
    """
    with default_dtype(torch.float64), _Doubled():
        yield


class _Doubled(TorchFunctionMode):
    """Lets no operation cast to float32 or return it. Does nothing where the default is float32 again."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.get_default_dtype() is not torch.float64 or func is torch.set_default_dtype:
            return func(*args, **kwargs)
        if func is Tensor.float:
            return args[0].double()
        args = [_wider(value) for value in args]
        found = func(*args, **{name: _wider(value) for name, value in kwargs.items()})
        return found.double() if isinstance(found, Tensor) and found.dtype is torch.float32 else found


def _wider(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
