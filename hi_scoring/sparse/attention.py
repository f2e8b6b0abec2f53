"""Sparse prefill on a model of transformers. Owns the attention function that it calls, and its way on and off a model.

Masks come in two forms: where a layer's attention is causal and nothing else, which tokens are real, (B, N), so that no
N x N mask is made for anybody; otherwise what SDPA takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function, sdpa_mask

from datasetkit.errors import ModelError
from hi_scoring.sparse.coverage import Coverage
from hi_scoring.sparse.passes import ForwardPass, Kernel
from hi_scoring.sparse.plan import SparsePlan

_NAME = "hi_scoring_sparse"


class Sparsified:
    """A plan on a model, until :meth:`undo` or the end of a ``with`` block.

    Attributes:
        plan: which.
        coverage: what was sparse so far, and what was not.

    """

    def __init__(self, plan: SparsePlan) -> None:
        self.plan = plan
        self.coverage = Coverage()
        self._undoing = ExitStack()

    def undo(self) -> None:
        """Leave nothing on the model; once is enough."""
        self._undoing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def sparsify(model: Any, plan: SparsePlan, kernel: Kernel = "blocks") -> Sparsified:
    """Put a plan on a model: its forward passes and ``generate`` go on as ever, with sparse prefill.

    Prefill is a forward pass of several tokens without a cache before it. Other passes, each token of ``generate``
    above all, have full attention over the whole cache. What does not fit stays dense and is counted: layers whose own
    mask is more than causal (sliding windows; image tokens that see later ones, as in Gemma 3 and PaliGemma), caches of
    fixed size, bounded scores, prompts in which little would be hidden.

    Args:
        model: an image-text-to-text model in evaluation mode, whose text attention goes through transformers'
            ``AttentionInterface``; what tells text from pictures is its configuration's ``image_token_id``.
        plan: for a model of this shape.
        kernel: ``blocks`` are plain torch; ``flex`` is one compiled kernel on CUDA, for which each new size of prompt
            costs seconds once, and blocks elsewhere.

    Returns:
        what takes it off again.

    Raises:
        ModelError: the model has another shape, is sparsified already, or its text attention cannot be reached; or,
            while it runs, it is given no ``input_ids`` to tell text from pictures by.

    """
    plan.check(model)
    decoder = model.get_decoder()
    config = decoder.config
    former = config._attn_implementation
    if former == _NAME:
        raise ModelError(f"this {type(model).__name__} is sparsified already; undo that first")
    with ExitStack() as stack:
        stack.callback(setattr, config, "_attn_implementation_internal", former)
        decoder.set_attn_implementation(_NAME)
        if config._attn_implementation != _NAME:
            raise ModelError(
                f"the text attention of {type(model).__name__} ({type(decoder).__name__}) does not go through "
                "transformers' AttentionInterface, so it cannot be sparsified; give another model"
            )
        sparsified = Sparsified(plan)
        hooks = _Hooks(sparsified, _picture_tokens(model), kernel)
        for handle in (
            model.register_forward_pre_hook(hooks.begin, with_kwargs=True),
            model.register_forward_hook(hooks.check),
            model.register_forward_hook(hooks.end, always_call=True),
        ):
            stack.callback(handle.remove)
        sparsified._undoing = stack.pop_all()
    return sparsified


def _picture_tokens(model: Any) -> list[int]:
    """Give the ids that stand for parts of pictures and films."""
    names = ("image_token_id", "video_token_id")
    found = [number for name in names if (number := getattr(model.config, name, None)) is not None]
    if not found:
        raise ModelError(f"the configuration of {type(model).__name__} has no image_token_id; give a model of pictures")
    return found


class _Hooks:
    """What runs before and after each forward pass of one model."""

    def __init__(self, sparsified: Sparsified, picture_tokens: Sequence[int], kernel: Kernel) -> None:
        self._sparsified = sparsified
        self._picture_tokens = picture_tokens
        self._kernel = kernel

    def begin(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Note the tokens that are given."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        plan, coverage = self._sparsified.plan, self._sparsified.coverage
        _PASS.set(ForwardPass(plan, coverage, ids, self._picture_tokens, self._kernel))

    def check(self, model: nn.Module, *_: Any) -> None:
        """Never let a model run dense without a word."""
        under_way = _PASS.get()
        if under_way is not None and not under_way.is_reached:
            raise ModelError(
                f"{type(model).__name__} is sparsified, but something else computed its attention; undo whatever set "
                "another attention implementation first"
            )

    def end(self, *_: Any) -> None:
        """Forget the tokens, also if the pass failed."""
        _PASS.set(None)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Be the attention function of every sparsified model, as transformers calls it."""
    under_way = _PASS.get()
    if under_way is None:
        raise ModelError(
            f"attention of {type(module).__name__} ran outside its model's forward pass (as gradient checkpointing and "
            "bare decoders do); call the model that was sparsified"
        )
    return under_way.attend(module, query, key, value, attention_mask, options), None


def _mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    mask_function: Any = causal_mask_function,
    attention_mask: Tensor | None = None,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Tensor | None:
    """Make the mask of a sparsified model's layers, as transformers calls it: one of the two forms."""
    if mask_function is causal_mask_function and q_length == kv_length > 1:
        if attention_mask is None:
            return torch.ones(batch_size, kv_length, dtype=torch.bool, device=device)
        if attention_mask.shape == (batch_size, kv_length):
            return attention_mask.bool()
    mask: Tensor | None = sdpa_mask(
        batch_size,
        q_length,
        kv_length,
        mask_function=mask_function,
        attention_mask=attention_mask,
        device=device,
        **options,
    )
    return mask


_PASS: ContextVar[ForwardPass | None] = ContextVar("sparse pass", default=None)

AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
