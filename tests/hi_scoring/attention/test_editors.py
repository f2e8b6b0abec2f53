"""Edited attention compared with independent slow code: full masks, loops over heads, eager, no cache."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention import AttentionCall, Editor, instrumented
from tests.hi_scoring.attention.running import (
    LONG,
    NEW_TOKENS,
    SHORT,
    AllRows,
    batch_of,
    calmer,
    generate,
    implementation,
    largest_difference,
    longer,
)
from tests.hi_scoring.tiny_models import TinyFamily, family_params, tiny
from tests.hi_scoring.tiny_parts import HEADS, LAYERS
from tests.precision import CHANGED, TOLERANCE, allowed, default_dtype

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("in_float64"), pytest.mark.slow]


@dataclass(frozen=True)
class Edit:
    """Blocked edges, and heads with zero output.

    Args:
        sources: keys, shape (B, N), bool; N counts all slots, including those of generated tokens.
        targets: queries, the same.
        layers: layers in which edges are blocked.
        heads: heads in which edges are blocked.
        zeroed: heads without output in those layers.

    """

    sources: Tensor
    targets: Tensor
    layers: tuple[int, ...] = tuple(range(LAYERS))
    heads: tuple[int, ...] = tuple(range(HEADS))
    zeroed: tuple[int, ...] = ()


class Blocking(Editor):
    def __init__(self, edit: Edit) -> None:
        self._edit = edit

    def rows(self, call: AttentionCall) -> Tensor | None:
        if call.layer not in self._edit.layers:
            return None
        targets = self._edit.targets[:, call.query_positions]
        rows = torch.arange(targets.shape[1]).expand(len(targets), -1)
        # Last first: editors may choose any order.
        return rows.where(targets, -1).flip(1)

    def edit(self, call: AttentionCall, rows: Tensor, visible: Tensor) -> Tensor:
        blocked = torch.zeros(HEADS, dtype=torch.bool)
        blocked[list(self._edit.heads)] = True
        return visible & ~(blocked[:, None, None] & self._edit.sources[:, None, None, call.key_positions])

    def edit_output(self, call: AttentionCall, output: Tensor) -> Tensor:
        if call.layer not in self._edit.layers:
            return output
        kept = torch.ones(HEADS)
        kept[list(self._edit.zeroed)] = 0
        return output * kept[:, None]


SLOW: list[Edit] = []


def slow_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **options: Any) -> Any:
    """Full scores of a whole sequence, head by head; needs a mask of every pair."""
    batch, heads, length, _ = query.shape
    per_group = heads // key.shape[1]
    [edit] = SLOW
    rows = []
    for sample in range(batch):
        for head in range(heads):
            keys, values = key[sample, head // per_group], value[sample, head // per_group]
            scores = query[sample, head] @ keys.T * options["scaling"]
            if options.get("softcap"):
                scores = torch.tanh(scores / options["softcap"]) * options["softcap"]
            hidden = ~mask[sample % len(mask), 0]
            if module.layer_idx in edit.layers and head in edit.heads:
                hidden = hidden | (edit.targets[sample, :length, None] & edit.sources[sample, None, :length])
            weights = scores.masked_fill(hidden, -torch.inf).softmax(-1).nan_to_num(0)
            silent = module.layer_idx in edit.layers and head in edit.zeroed
            rows.append((weights, weights @ values * (0 if silent else 1)))
    weights, output = (torch.stack(part).unflatten(0, (batch, heads)) for part in zip(*rows, strict=True))
    return output.transpose(1, 2), weights


def full_mask(*arguments: Any, **options: Any) -> Tensor:
    return sdpa_mask(*arguments, **{**options, "allow_is_causal_skip": False})


AttentionInterface.register("tests_slow", slow_attention)
AttentionMaskInterface.register("tests_slow", full_mask)


@contextmanager
def slowly(family: TinyFamily, edit: Edit) -> Iterator[None]:
    SLOW.append(edit)
    try:
        with implementation(family.model, "tests_slow"), torch.no_grad():
            yield
    finally:
        SLOW.clear()


def edges(family: TinyFamily, inputs: Mapping[str, Any], **options: Any) -> Edit:
    """Block all image tokens except two from all later tokens, including generated ones."""
    image = inputs["input_ids"] == family.model.config.image_token_id
    sources = image & (image.cumsum(1) > 2)
    targets = ~image & (image.cumsum(1) > 0)
    grown = [
        torch.nn.functional.pad(part, (0, NEW_TOKENS), value=value)
        for part, value in ((sources, False), (targets, True))
    ]
    return Edit(*grown, **options)


EDITS = {
    "edges": {},
    "edges in one layer": {"layers": (2,)},
    "edges of two heads": {"heads": (1, 3)},
    "heads": {"heads": (), "zeroed": (0, 2)},
    "both": {"heads": (1, 3), "zeroed": (0,), "layers": (1, 2, 3)},
}


@pytest.mark.parametrize("options", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("name", family_params())
def test_edited_padded_pass_equals_slow_code(name, options):
    family = tiny(name)
    inputs = batch_of(family, LONG, SHORT)
    edit = edges(family, inputs, **options)
    with slowly(family, edit):
        expected = family.model(**inputs, output_attentions=True)
    reader = AllRows()
    with torch.no_grad():
        plain = family.model(**inputs).logits
        with instrumented(family.model, readers=[reader], editors=[Blocking(edit)]):
            edited = family.model(**inputs).logits
    real = inputs["attention_mask"].bool()
    assert (edited - expected.logits)[real].abs().max() < TOLERANCE
    assert (edited - plain)[real].abs().max() > CHANGED
    assert largest_difference(reader.steps()[0], expected.attentions, inputs["attention_mask"]) < TOLERANCE


@pytest.mark.parametrize("name", family_params())
def test_edited_float32_pass_is_as_exact_as_slow_code(name):
    """The tolerance is the rounding error of the slow code on the same processor."""

    def logits_and_attention(edited: bool) -> tuple[Tensor, list[Tensor]]:
        family, reader = tiny(name), AllRows()
        inputs = batch_of(family, LONG, SHORT)
        edit = edges(family, inputs, **EDITS["both"])
        if not edited:
            with slowly(family, edit):
                found = family.model(**inputs, output_attentions=True)
            return found.logits[inputs["attention_mask"].bool()], found.attentions
        with torch.no_grad(), instrumented(family.model, readers=[reader], editors=[Blocking(edit)]):
            logits = family.model(**inputs).logits
        return logits[inputs["attention_mask"].bool()], reader.steps()[0]

    exact, exact_attention = logits_and_attention(edited=False)
    with default_dtype(torch.float32):
        ours, attention = logits_and_attention(edited=True)
        slow, slow_attention = logits_and_attention(edited=False)
        attended = batch_of(tiny(name), LONG, SHORT)["attention_mask"]
    assert ours.dtype == attention[0].dtype == torch.float32
    assert (ours - exact).abs().max() < allowed((slow - exact).abs().max())
    most = allowed(largest_difference(slow_attention, exact_attention, attended))
    assert largest_difference(attention, exact_attention, attended) < most


@pytest.mark.parametrize(
    ("texts", "options"),
    [((LONG,), EDITS["both"]), ((LONG, SHORT), EDITS["edges"]), ((LONG, SHORT), EDITS["heads"])],
    ids=["single, both", "padded, edges", "padded, heads"],
)
@pytest.mark.parametrize("name", family_params())
def test_edited_cached_generation_equals_slow_code(name, texts, options):
    family = calmer(name)
    inputs = batch_of(family, *texts)
    edit = edges(family, inputs, **options)
    with instrumented(family.model, editors=[Blocking(edit)]):
        generated = generate(family, inputs)
    with slowly(family, edit):
        expected = family.model(**longer(inputs, generated.sequences, name)).logits
    logits = torch.stack(generated.logits, 1)
    assert logits.shape[1] == NEW_TOKENS
    assert (logits - expected[:, -NEW_TOKENS:]).abs().max() < TOLERANCE


def test_two_editors_act_one_after_the_other():
    family = tiny("llava")
    inputs = batch_of(family, LONG)
    both = edges(family, inputs)
    halves = both.sources & (both.sources.cumsum(1) % 2 == 0), both.sources & (both.sources.cumsum(1) % 2 == 1)
    logits = []
    for editors in ([Blocking(both)], [Blocking(Edit(half, both.targets)) for half in halves]):
        with torch.no_grad(), instrumented(family.model, editors=editors):
            logits.append(family.model(**inputs).logits)
    assert torch.allclose(*logits, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", family_params("llava", "paligemma2"))
def test_row_without_any_key_is_refused(name):
    family = tiny(name)
    inputs = batch_of(family, LONG, SHORT)
    every = torch.ones_like(inputs["input_ids"], dtype=torch.bool)
    last = torch.zeros_like(every)
    last[:, -1] = True
    edit = Edit(every, last, layers=(2,), heads=(3,))
    slot = every.shape[1] - 1
    with (
        torch.no_grad(),
        instrumented(family.model, editors=[Blocking(edit)]),
        pytest.raises(ModelError, match=rf"Blocking .* slot {slot} of sample 0 in layer 2, head 3"),
    ):
        family.model(**inputs)


def test_padding_rows_without_keys_are_accepted():
    family = tiny("llava")
    inputs = batch_of(family, LONG, SHORT)
    first = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    first[:, 0] = True
    edit = Edit(first, inputs["attention_mask"] == 0)
    with torch.no_grad(), instrumented(family.model, editors=[Blocking(edit)]):
        assert family.model(**inputs).logits.isfinite().all()


def test_edit_of_another_shape_is_refused():
    class Narrow(Blocking):
        def edit(self, call: AttentionCall, rows: Tensor, visible: Tensor) -> Tensor:
            return super().edit(call, rows, visible)[:, :1]

    family = tiny("llava")
    inputs = batch_of(family, LONG)
    edit = edges(family, inputs)
    with (
        instrumented(family.model, editors=[Narrow(edit)]),
        pytest.raises(ModelError, match="edit returned"),
    ):
        family.model(**inputs)


def test_gradients_of_edited_rows_equal_slow_code():
    family = tiny("llava")
    inputs = batch_of(family, LONG)
    weight = family.model.get_decoder().layers[0].self_attn.v_proj.weight
    edit = edges(family, inputs, zeroed=(0,))

    def gradient() -> Tensor:
        with torch.enable_grad():
            return torch.autograd.grad(family.model(**inputs).logits[:, -1].sum(), weight)[0]

    with instrumented(family.model, readers=[AllRows()], editors=[Blocking(edit)]):
        ours = gradient()
    with slowly(family, edit):
        expected = gradient()
    assert expected.abs().max() > 1
    assert torch.allclose(ours, expected, rtol=0, atol=TOLERANCE * expected.abs().max())
