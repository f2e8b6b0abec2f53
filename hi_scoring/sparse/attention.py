"""Sparse prefill on a model of transformers. Owns the attention function that it calls, and its way on and off a model.

Masks come in two forms: where a layer's attention is causal and nothing else, which tokens are real, (B, N), so that no
N x N mask is made for anybody; otherwise what SDPA takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function, sdpa_mask

from datasetkit.errors import ModelError
from hi_scoring.attention.call import AttentionCall
from hi_scoring.attention.compute import attend
from hi_scoring.sparse.blocks import BlockAttention
from hi_scoring.sparse.coverage import Coverage, DenseReason
from hi_scoring.sparse.flex import FlexAttention
from hi_scoring.sparse.plan import SparsePlan
from hi_scoring.sparse.prompts import Prompt, prompts_of

_NAME = "hi_scoring_sparse"

Kernel = Literal["blocks", "flex"]


class Sparsified:
    """A plan on a model, until :meth:`undo` or the end of a ``with`` block.

    Attributes:
        plan: which.
        coverage: what was sparse so far, and what was not.

    """

    def __init__(self, plan: SparsePlan, undoing: ExitStack) -> None:
        self.plan = plan
        self.coverage = Coverage()
        self._undoing = undoing

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
        sparsified = Sparsified(plan, stack)
        hooks = _Hooks(sparsified, _picture_tokens(model), kernel)
        for handle in (
            model.register_forward_pre_hook(hooks.begin, with_kwargs=True),
            model.register_forward_hook(hooks.check),
            model.register_forward_hook(hooks.end, always_call=True),
        ):
            stack.callback(handle.remove)
        sparsified._undoing = stack.pop_all()
    return sparsified


def _picture_tokens(model: Any) -> Tensor:
    """Give the ids that stand for parts of pictures and films."""
    names = ("image_token_id", "video_token_id")
    found = [number for name in names if (number := getattr(model.config, name, None)) is not None]
    if not found:
        raise ModelError(f"the configuration of {type(model).__name__} has no image_token_id; give a model of pictures")
    return torch.tensor(found)


class _LocalAttention(Protocol):
    """What computes the heads that see shared tokens and a window; see :class:`BlockAttention`."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor: ...


class _Hooks:
    """What runs before and after each forward pass of one model."""

    def __init__(self, sparsified: Sparsified, picture_tokens: Tensor, kernel: Kernel) -> None:
        self._sparsified = sparsified
        self._picture_tokens = picture_tokens
        self._kernel = kernel

    def begin(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Note the tokens that are given."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        is_text = None if ids is None else torch.isin(ids, self._picture_tokens.to(ids.device), invert=True)
        _PASS.set(_Pass(self._sparsified, is_text, self._kernel))

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


class _Pass:
    """One forward pass of a sparsified model: its prompts, and what its layers have computed in common.

    Args:
        sparsified: the model's.
        is_text: which of the given tokens are no picture's, (B, N); None where ids were not given.
        kernel: see :func:`sparsify`.

    """

    def __init__(self, sparsified: Sparsified, is_text: Tensor | None, kernel: Kernel) -> None:
        self._plan = sparsified.plan
        self._coverage = sparsified.coverage
        self._is_text = is_text
        self._kernel = kernel
        self._located: tuple[Prompt, ...] | DenseReason | None = None
        # By the place of the prompt in the batch; all layers use the same.
        self._local: dict[int, _LocalAttention] = {}
        self.is_reached = False

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Compute one layer's attention, (B, Q, H, D); ``options`` are transformers' other arguments."""
        self.is_reached = True
        layer = getattr(module, "layer_idx", None)
        if layer is None:
            raise ModelError(f"{type(module).__name__} has no layer_idx; give a model whose layers know their number")
        _refuse_unknown(layer, options)
        full = self._plan.full_heads[layer]
        prompts = self._prompts(query, key, mask, options.get("softcap"))
        if isinstance(prompts, DenseReason):
            if query.shape[2] > 1 and len(full) < self._plan.heads:
                self._coverage.dense[prompts] += len(query)
            return _dense(module, query, key, value, mask, options)
        scaling = options.get("scaling")
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        length = query.shape[2]
        found = []
        for number, prompt in enumerate(prompts):
            slots = slice(prompt.start, prompt.stop)
            one, keys, values = (part[number, :, slots] for part in (query, key, value))
            rows = self._attend_prompt(number, prompt, full, one, keys, values, scaling)
            if prompt.length < length:
                # Rows of padding are nobody's; zeros, as SDPA's are where nothing is seen.
                rows = functional.pad(rows, (0, 0, 0, 0, prompt.start, length - prompt.stop))
            found.append(rows)
        return found[0][None] if len(found) == 1 else torch.stack(found)

    def _prompts(
        self, query: Tensor, key: Tensor, mask: Tensor | None, softcap: float | None
    ) -> tuple[Prompt, ...] | DenseReason:
        """Give the batch's prompts, or why this call is dense."""
        if softcap is not None:
            return DenseReason.SOFTCAP
        if mask is None or mask.ndim != 2:
            return DenseReason.OTHER_MASK if query.shape[2] == key.shape[2] else DenseReason.CONTINUES
        if self._located is None:
            self._located = self._locate(mask) or DenseReason.GAPS
        return self._located

    def _locate(self, real: Tensor) -> tuple[Prompt, ...] | None:
        if self._is_text is None or self._is_text.shape != real.shape:
            given = "no input_ids" if self._is_text is None else f"input_ids of shape {tuple(self._is_text.shape)}"
            raise ModelError(
                f"a sparsified model was given {given} with {tuple(real.shape)} tokens, so text and pictures cannot be "
                "told apart; give it input_ids, one for each token"
            )
        is_real = real.cpu().numpy()
        return prompts_of(self._is_text.cpu().numpy() & is_real, is_real, self._plan.sink, self._plan.window)

    def _attend_prompt(
        self,
        number: int,
        prompt: Prompt,
        full: tuple[int, ...],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
    ) -> Tensor:
        """Compute one prompt: (H, N, D), (G, N, D) twice, to (N, H, D)."""
        heads = query.shape[0]
        if len(full) == heads:
            return _causal(query, key, value, scaling)
        if prompt.visible == 1 or prompt.visible > self._plan.dense_above:
            self._coverage.dense[DenseReason.HIDES_LITTLE] += 1
            return _causal(query, key, value, scaling)
        self._coverage.sparse += 1
        if number not in self._local:
            uses_flex = self._kernel == "flex" and FlexAttention.is_possible(key)
            kind: Callable[..., _LocalAttention] = FlexAttention if uses_flex else BlockAttention
            self._local[number] = kind(prompt.shared, prompt.length, self._plan.window, key)
        # Of all heads, for full ones are few, and so no keys have to be sorted out.
        output = self._local[number].attend(query, key, value, scaling)
        if full:
            kept = torch.tensor(full, device=query.device)
            groups = kept // (heads // key.shape[0])
            output[:, kept] = _causal(query[kept], key[groups], value[groups], scaling)
        return output


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Full causal attention, without a mask: (H, N, D), (G, N, D) twice, to (N, H, D)."""
    output = functional.scaled_dot_product_attention(
        query[None], key[None], value[None], is_causal=True, scale=scaling, enable_gqa=query.shape[0] != key.shape[0]
    )
    return output[0].transpose(0, 1)


def _dense(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
) -> Tensor:
    """Compute what the model itself computes, (B, Q, H, D)."""
    length, keys = query.shape[2], key.shape[2]
    if mask is not None and mask.ndim == 2:
        mask = mask[:, None, None] & torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    softcap = options.pop("softcap", None)
    if softcap is None:
        return sdpa_attention_forward(module, query, key, value, mask, **options)[0]
    call = AttentionCall(
        layer=module.layer_idx,
        query=query,
        key=key,
        value=value,
        scaling=options["scaling"],
        softcap=softcap,
        query_positions=torch.arange(keys - length, keys, device=query.device),
        key_positions=torch.arange(keys, device=query.device),
        mask=mask,
        causal=mask is None and length > 1,
    )
    # SDPA cannot bound scores, and is not asked to.
    return attend(call, (), (), lambda: query)


def _refuse_unknown(layer: int, options: Mapping[str, Any]) -> None:
    """Refuse what changes the attention beyond mask, scaling and softcap."""
    if options.get("dropout"):
        raise ModelError(f"layer {layer} drops attention at random, p = {options['dropout']}; call model.eval() first")
    for name in ("position_bias", "s_aux"):
        if options.get(name) is not None:
            raise ModelError(f"layer {layer} uses {name} in its attention, which is not known here; give another model")


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


_PASS: ContextVar[_Pass | None] = ContextVar("sparse pass", default=None)

AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
