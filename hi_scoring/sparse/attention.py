"""Sparse prefill on a transformers model. Owns its attention function, and how it is attached and removed.

Masks have two forms: if a layer's attention is purely causal, which tokens are real, (B, N), so that no N x N mask is
built; otherwise the mask of SDPA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from types import MethodType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function, sdpa_mask

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention.implementation import attending_by
from datasetkit.hi_scoring.sparse.coverage import Coverage
from datasetkit.hi_scoring.sparse.kernels import Kernel, check_kernel, head_width
from datasetkit.hi_scoring.sparse.passes import ForwardPass
from datasetkit.hi_scoring.sparse.plan import SparsePlan
from datasetkit.hi_scoring.sparse.prompts import image_tokens

_NAME = "hi_scoring_sparse"


class Sparsified:
    """A plan applied to a model, until :meth:`undo` or the end of a ``with`` block.

    Attributes:
        plan: the plan.
        coverage: counts of sparse and dense work so far.

    """

    def __init__(self, plan: SparsePlan) -> None:
        self.plan = plan
        self.coverage = Coverage()
        self._undoing = ExitStack()

    def undo(self) -> None:
        """Remove everything from the model; further calls do nothing."""
        self._undoing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def sparsify(model: Any, plan: SparsePlan, kernel: Kernel = "blocks") -> Sparsified:
    """Apply a plan to a model: its forward passes and ``generate`` work as usual, with sparse prefill.

    A prefill is a forward pass of several tokens without a cache before them. In ``generate``, rows are sparse up to
    the end of its input; later tokens have full attention over all earlier ones, whether they are kept in a cache,
    computed again each time (``use_cache=False``), or are drafts of an assistant. Outside of ``generate``, a prefill is
    a prompt from end to end: a pass over a prompt and its response (teacher forcing) is also sparse in the response's
    rows, which differs from what ``generate`` computes.

    Unsupported cases stay dense and are counted: layers with a mask that is not purely causal (sliding windows; image
    tokens that see later ones, as in Gemma 3 and PaliGemma), caches of fixed size, later chunks of a prompt that is
    processed in chunks, capped scores, prompts in which little would be hidden. A plan for another commit of the Hub
    causes a warning.

    Args:
        model: an image-text-to-text model in evaluation mode, or a peft adapter on one, whose text attention goes
            through transformers' ``AttentionInterface``; image tokens are recognised by its configuration's
            ``image_token_id``.
        plan: a plan for a model of this shape.
        kernel: ``blocks`` is plain torch; ``flex`` is one compiled kernel on CUDA, where each new prompt size costs a
            few seconds once.

    Returns:
        the applied plan, which can be undone.

    Raises:
        ModelError: the model has another shape, is already sparsified, or its text attention cannot be reached; the
            kernel does not work there; or, while it runs, it receives no ``input_ids`` to distinguish text from images.

    """
    # Some versions of peft run the forward() of the wrapped model without its hooks; the owner of the decoder is always
    # called, and receives the tokens.
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    owner = model.base_model
    plan.check(model)
    check_kernel(kernel, model.device, head_width(model.config))
    sparsified = Sparsified(plan)
    hooks = _Hooks(plan, sparsified.coverage, image_tokens(model), kernel)
    with ExitStack() as stack:
        stack.enter_context(attending_by(_NAME, model, "sparsified", "undo that first"))
        for handle in (
            owner.register_forward_pre_hook(hooks.begin, with_kwargs=True),
            owner.register_forward_hook(hooks.check),
            owner.register_forward_hook(hooks.end, always_call=True),
        ):
            stack.callback(handle.remove)
        if hasattr(model, "generate"):
            stack.enter_context(_watched(model, hooks))
        sparsified._undoing = stack.pop_all()
    return sparsified


@contextmanager
def _watched(model: Any, hooks: _Hooks) -> Iterator[None]:
    """Notify hooks of each call of ``generate``."""
    former = vars(model).get("generate")
    model.generate = partial(hooks.generate, former or MethodType(type(model).generate, model))
    try:
        yield
    finally:
        del model.generate
        if former is not None:
            model.generate = former


@dataclass(frozen=True, eq=False)
class _Hooks:
    """Hooks around each forward pass of one model, and around its ``generate``."""

    plan: SparsePlan
    coverage: Coverage
    images: Sequence[int]
    kernel: Kernel

    def generate(self, generate: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``generate``, and record where its prompts end meanwhile."""
        given = [*args[:1], kwargs.get("inputs"), kwargs.get("input_ids")]
        slots = next((ids.shape[1] for ids in given if ids is not None), None)
        token = _GENERATING.set((self, slots))
        try:
            return generate(*args, **kwargs)
        finally:
            _GENERATING.reset(token)

    def begin(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Record the input tokens."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        who, slots = _GENERATING.get()
        ours = slots if who is self else None
        _PASS.set(ForwardPass(self.plan, self.coverage, ids, self.images, self.kernel, ours))

    def check(self, owner: nn.Module, *_: Any) -> None:
        """Raise if the model ran dense because something else computed its attention."""
        under_way = _PASS.get()
        if under_way is not None and not under_way.is_reached:
            raise ModelError(
                f"{type(owner).__name__} is sparsified, but something else computed its attention; undo the other "
                "attention implementation first"
            )

    def end(self, *_: Any) -> None:
        """Forget the tokens, also if the pass failed."""
        _PASS.set(None)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Compute the attention of every sparsified model, as transformers calls it."""
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
    """Return the mask of a sparsified model's layers, as transformers calls it, in one of the two forms."""
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
# The hooks of the running generate(), and its number of input slots; None if it received no tokens.
_GENERATING: ContextVar[tuple[_Hooks | None, int | None]] = ContextVar("sparse generation", default=(None, None))

AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
