"""Weighted sums of rows at chosen keys."""

import pytest
import torch
from torch import Tensor

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention import AttentionCall, PositionReader, compute, instrumented
from tests.hi_scoring.attention.running import LONG, NEW_TOKENS, SHORT, batch_of, eager, generate
from tests.hi_scoring.tiny_models import tiny
from tests.hi_scoring.tiny_parts import LAYERS
from tests.precision import TOLERANCE

pytestmark = pytest.mark.numeric


def sums(family, inputs, rows, weights, columns) -> list[Tensor]:
    """The sums of each layer, from one forward pass."""
    got: dict[int, Tensor] = {}

    def sink(layer: int, values: Tensor) -> None:
        assert layer not in got
        got[layer] = values

    with torch.no_grad(), instrumented(family.model, readers=[PositionReader(rows, weights, columns, sink)]):
        family.model(**inputs)
    return [got[layer] for layer in range(LAYERS)]


def chosen(length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, weights of two sums, and columns of two samples; -1 means none, in any position."""
    rows = torch.tensor([[length - 1, length - 4, length - 2], [length - 3, -1, length - 1]])
    weights = torch.tensor([[[0.5, 0.5, 0], [0, 0, 1]], [[1, 7, 0], [0.25, 7, 0.75]]])
    return rows, weights, torch.tensor([[5, 30, 2, -1], [-1, 12, length - 2, 20]])


@pytest.mark.usefixtures("in_float64")
def test_sums_are_those_of_eager_attention():
    family = tiny("llava")
    inputs = batch_of(family, LONG, SHORT)
    rows, weights, columns = chosen(inputs["input_ids"].shape[1])
    got = sums(family, inputs, rows, weights, columns)
    for layer, attention in enumerate(eager(family, inputs).attentions):
        assert got[layer].shape == (2, attention.shape[1], 2, 4)
        for sample in range(2):
            for place, column in enumerate(columns[sample]):
                for number in range(2):
                    expected = sum(
                        weight * attention[sample, :, row, column]
                        for row, weight in zip(rows[sample], weights[sample, number], strict=True)
                        if row >= 0 and column >= 0
                    )
                    expected = torch.zeros(()) if column < 0 else expected
                    assert torch.allclose(got[layer][sample, :, number, place], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.usefixtures("in_float64")
def test_rows_in_several_parts_give_equal_sums(monkeypatch):
    family = tiny("gemma3")
    inputs = batch_of(family, LONG, SHORT)
    given = chosen(inputs["input_ids"].shape[1])
    at_once = sums(family, inputs, *given)
    monkeypatch.setattr(compute, "_CHUNK_SCORES", 1)
    for layer, values in enumerate(sums(family, inputs, *given)):
        assert torch.allclose(values, at_once[layer], rtol=0, atol=TOLERANCE)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", ["llava", "gemma3", "paligemma2"])
def test_parts_of_cached_generation_add_up(name):
    family = tiny(name)
    inputs = batch_of(family, LONG, SHORT)
    start = inputs["input_ids"].shape[1]
    # The last prompt row and those of all generated tokens except the last, which is never a query.
    rows = torch.arange(start - 1, start + NEW_TOKENS - 1).expand(2, -1)
    weights = torch.full((2, 1, NEW_TOKENS), 1 / NEW_TOKENS)
    columns = torch.arange(start + 1).expand(2, -1)
    added = [torch.zeros(())] * LAYERS

    def sink(layer: int, values: Tensor) -> None:
        added[layer] = added[layer] + values

    with instrumented(family.model, readers=[PositionReader(rows, weights, columns, sink)]):
        sequences = generate(family, inputs).sequences
    values = {"attention_mask": 1, "token_type_ids": int(name == "paligemma2")}
    whole = {
        **inputs,
        "input_ids": sequences[:, :-1],
        **{
            key: torch.nn.functional.pad(inputs[key], (0, NEW_TOKENS - 1), value=value)
            for key, value in values.items()
            if key in inputs
        },
    }
    for layer, expected in enumerate(sums(family, whole, rows, weights, columns)):
        assert torch.allclose(added[layer], expected, rtol=0, atol=TOLERANCE)


def test_call_without_chosen_rows_requests_nothing():
    family = tiny("llava")
    inputs = batch_of(family, SHORT)
    never = PositionReader(
        torch.tensor([[1000, -1]]), torch.ones(1, 1, 2), torch.tensor([[0]]), lambda *_: pytest.fail("called")
    )
    with torch.no_grad(), instrumented(family.model, readers=[never]):
        family.model(**inputs)


@pytest.mark.parametrize(
    "shapes",
    [((2, 3), (2, 1, 4), (2, 5)), ((2, 3), (1, 1, 3), (2, 5)), ((2, 3), (2, 3), (2, 5)), ((2, 3), (2, 1, 3), (1, 5))],
)
def test_shapes_that_do_not_fit_are_refused(shapes):
    rows, weights, columns = (torch.zeros(shape, dtype=torch.int64) for shape in shapes)
    with pytest.raises(ModelError, match=r"give \(B, R\), \(B, S, R\) and \(B, M\)"):
        PositionReader(rows, weights, columns, lambda *_: None)


def test_batch_of_another_size_is_refused():
    family = tiny("llava")
    inputs = batch_of(family, LONG, SHORT)
    reader = PositionReader(torch.tensor([[3]]), torch.ones(1, 1, 1), torch.tensor([[0]]), lambda *_: None)
    with instrumented(family.model, readers=[reader]), pytest.raises(ModelError, match="batch of 2"):
        family.model(**inputs)


def call_with(mask: Tensor | None, *, causal: bool = False, queries: int = 2, keys: int = 3) -> AttentionCall:
    return AttentionCall(
        layer=0,
        query=torch.zeros(1, 2, queries, 4),
        key=torch.zeros(1, 1, keys, 4),
        value=torch.zeros(1, 1, keys, 4),
        scaling=0.5,
        softcap=None,
        query_positions=torch.arange(queries),
        key_positions=torch.arange(keys),
        mask=mask,
        causal=causal,
    )


LEAST = torch.finfo(torch.float32).min


@pytest.mark.parametrize(
    ("mask", "causal", "expected"),
    [
        (None, False, [[1, 1, 1], [0, 0, 0], [1, 1, 1]]),
        (None, True, [[1, 1, 0], [0, 0, 0], [1, 0, 0]]),
        ([[True, False, True], [False, True, False]], False, [[0, 1, 0], [0, 0, 0], [1, 0, 1]]),
        ([[0.0, LEAST, 0.0], [LEAST, 0.0, -torch.inf]], False, [[0, 1, 0], [0, 0, 0], [1, 0, 1]]),
    ],
    ids=["all", "causal", "bool", "additive"],
)
def test_visible_keys_follow_each_kind_of_mask(mask, causal, expected):
    call = call_with(None if mask is None else torch.tensor(mask)[None, None], causal=causal)
    assert call.visible(torch.tensor([[1, -1, 0]]))[0, 0].int().tolist() == expected


def test_additive_bias_is_refused():
    with pytest.raises(ModelError, match="layer 0 received an additive attention bias"):
        call_with(torch.tensor([[[[0.0, -1.5, 0.0], [0.0, 0.0, 0.0]]]])).visible(torch.tensor([[0]]))


def test_row_without_keys_is_zero():
    call = call_with(torch.zeros(1, 1, 2, 3, dtype=torch.bool))
    rows = torch.tensor([[0, -1]])
    assert call.probabilities(rows, call.visible(rows)).tolist() == [[[[0.0] * 3] * 2] * 2]
