"""Muon: momentum whose update of each matrix is made orthogonal (https://kellerjordan.github.io/posts/muon/).

In float32, as the version in torch computes in bfloat16, which is slow on processors without support for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

# Coefficients of the quintic iteration in the reference.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
# The root mean square of AdamW's updates, so that its learning rates can be kept.
_UPDATE_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """Nesterov momentum with orthogonal updates, for matrices only.

    Args:
        params: parameters of two axes, or groups of them.
        lr: learning rate, on AdamW's scale.
        momentum: share of the momentum that is kept per step.
        weight_decay: decoupled weight decay, as in AdamW.

    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonal(parameter.grad.lerp(momentum, group["momentum"]))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * _UPDATE_RMS * max(update.shape) ** 0.5)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with singular values close to one; shape (M, N), float32."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = _A * wide + (_B * gram + _C * gram @ gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
