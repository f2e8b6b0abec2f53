"""Head Impact and its chance levels, compared with enumeration of every choice."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.hi_scoring.scores.formulas.binarise import ascending
from datasetkit.hi_scoring.scores.formulas.overlap import binary_chance, binary_hi, lift, soft_chance, soft_hi
from tests.hi_scoring.scores.formulas import references

pytestmark = [pytest.mark.numeric, pytest.mark.slow]


def _hi(values: list[float], mask: list[int], count: int) -> float:
    attention = torch.tensor([[values]], dtype=torch.float32)
    found = binary_hi(
        attention, ascending(attention), torch.tensor([mask], dtype=torch.bool), torch.tensor([[[count]]])
    )
    assert found.shape == (1, 1, 1)
    return float(found)


def _chance(tokens: int, mask_size: int, count: int) -> float:
    mask = torch.arange(tokens)[None] < mask_size
    return float(binary_chance(tokens, mask, torch.tensor([[count]])))


@pytest.mark.parametrize(
    ("values", "mask", "count", "expected"),
    [
        ([4, 3, 2, 1], [1, 1, 0, 0], 2, 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 2, 0.0),
        ([4, 3, 2, 1], [1, 0, 1, 0], 2, 1 / 3),
        ([4, 2, 2, 1], [1, 1, 0, 0], 2, (1 + 1 / 3) / 2),  # the second is one of two that are tied
        ([1, 1, 1, 1], [1, 1, 1, 1], 4, 1.0),
        ([4, 3, 2, 1], [1, 1, 0, 0], 0, 0.0),
        ([0, 0, 0, 0], [1, 0, 0, 0], 1, 1 / 4),
    ],
)
def test_binary_hi_of_small_views(values: list[float], mask: list[int], count: int, expected: float) -> None:
    assert _hi(values, mask, count) == pytest.approx(expected)


@st.composite
def tied_views(draw: st.DrawFn) -> tuple[list[float], list[int], int]:
    tokens = draw(st.integers(1, 9))
    values = draw(st.lists(st.integers(0, 3).map(float), min_size=tokens, max_size=tokens))
    mask = draw(st.lists(st.integers(0, 1), min_size=tokens, max_size=tokens).filter(any))
    return values, mask, draw(st.integers(0, tokens))


@given(tied_views())
def test_ties_count_by_the_mean_over_all_choices(view: tuple[list[float], list[int], int]) -> None:
    values, mask, count = view
    cells = {cell for cell, inside in enumerate(mask) if inside}
    assert _hi(values, mask, count) == pytest.approx(references.expected_iou(values, cells, count), abs=1e-12)


@given(tied_views(), st.randoms())
def test_binary_hi_does_not_depend_on_the_order_of_cells(
    view: tuple[list[float], list[int], int], chooser: random.Random
) -> None:
    values, mask, count = view
    order = list(range(len(values)))
    chooser.shuffle(order)
    assert _hi([values[cell] for cell in order], [mask[cell] for cell in order], count) == _hi(values, mask, count)


@given(st.integers(1, 14), st.data())
def test_chance_is_the_hypergeometric_expectation(tokens: int, data: st.DataObject) -> None:
    size, count = data.draw(st.integers(1, tokens)), data.draw(st.integers(0, tokens))
    assert _chance(tokens, size, count) == pytest.approx(references.chance_iou(tokens, size, count), abs=1e-12)


def test_chance_of_thousands_of_tokens_is_exact() -> None:
    for size, count in [(341, 341), (1072, 300), (2355, 2355), (1, 1)]:
        assert _chance(2355, size, count) == pytest.approx(references.chance_iou(2355, size, count), rel=1e-9)


def test_chance_is_what_random_attention_scores() -> None:
    torch.manual_seed(0)
    attention = torch.rand(1, 20_000, 30)
    mask = torch.arange(30)[None] < 8
    scores = binary_hi(attention, ascending(attention), mask, torch.tensor(8).expand(1, 20_000, 1))
    standard_error = float(scores.std()) / math.sqrt(20_000)
    assert abs(float(scores.mean()) - _chance(30, 8, 8)) < 4 * standard_error
    assert standard_error < 1e-3


@given(tied_views())
def test_uniform_attention_is_exactly_at_chance(view: tuple[list[float], list[int], int]) -> None:
    values, mask, count = view
    assert _hi([0.1] * len(values), mask, count) == _chance(len(values), sum(mask), count)


def test_objects_and_heads_are_independent() -> None:
    torch.manual_seed(1)
    attention = torch.randint(0, 4, (3, 5, 8)).float()
    mask = torch.rand(3, 8) < 0.5
    mask[:, 0] = True
    counts = torch.randint(0, 9, (3, 5, 2))
    found = binary_hi(attention, ascending(attention), mask, counts)
    shared = binary_hi(attention[:1], ascending(attention[:1]), mask, counts)
    chances = binary_chance(8, mask, counts[..., 0])
    for item, head, way in np.ndindex(3, 5, 2):
        inside, count = mask[item].int().tolist(), int(counts[item, head, way])
        assert found[item, head, way] == _hi(attention[item, head].tolist(), inside, count)
        assert shared[item, head, way] == _hi(attention[0, head].tolist(), inside, count)
        assert way or chances[item, head] == _chance(8, sum(inside), count)


def test_lift_is_0_at_chance_and_1_at_best() -> None:
    found = lift(torch.tensor([0.25, 1.0, 0.0, 1.0]).double(), torch.tensor([0.25, 0.25, 0.5, 1.0]).double())
    assert found[:3].tolist() == [0.0, 1.0, -1.0]
    assert found[3].isnan()


grids = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(
        st.lists(st.integers(0, 9), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
        .filter(any)
        .map(lambda values: np.array(values, float).reshape(shape)),
        st.lists(st.sampled_from([0, 0, 0.25, 0.6, 1, 1]), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
        .filter(any)
        .map(lambda values: np.array(values, float).reshape(shape)),
    )
)


@given(grids)
def test_soft_hi_is_ruzicka_similarity(grid: tuple[np.ndarray, np.ndarray]) -> None:
    attention, coverage = grid
    found = float(soft_hi(torch.from_numpy(attention)[None].float(), torch.from_numpy(coverage)))
    assert found == pytest.approx(references.soft(attention, coverage), abs=1e-9)
    assert 0 <= found <= 1


@given(grids)
def test_soft_chance_is_the_mean_over_all_cyclic_shifts(grid: tuple[np.ndarray, np.ndarray]) -> None:
    attention, coverage = grid
    found = float(soft_chance(torch.from_numpy(attention)[None].float(), torch.from_numpy(coverage)))
    assert found == pytest.approx(references.soft_chance(attention, coverage), abs=2e-6)


def test_soft_chance_of_a_view_of_many_tokens_and_heads() -> None:
    random_ = np.random.default_rng(0)
    attention = np.exp(3 * random_.normal(size=(3, 17, 23)))
    coverage = np.clip(random_.normal(size=(17, 23)), 0, 1)
    found = soft_chance(torch.from_numpy(attention).float(), torch.from_numpy(coverage).float())
    assert found.tolist() == pytest.approx([references.soft_chance(head, coverage) for head in attention], abs=2e-6)


def test_soft_hi_is_1_on_the_mask_and_0_apart() -> None:
    mask = torch.tensor([[0.5, 1.0, 0.0], [0.25, 0.0, 0.0]])
    apart = torch.tensor([[0.0, 0.0, 0.3], [0.0, 0.1, 0.0]])
    assert soft_hi(torch.stack([mask * 0.1, apart]), mask).tolist() == pytest.approx([1.0, 0.0])


def test_soft_scores_without_attention_are_undefined() -> None:
    attention = torch.stack([torch.zeros(3, 4), torch.ones(3, 4)])
    coverage = torch.zeros(3, 4)
    coverage[1, 1:3] = torch.tensor([1.0, 0.5])
    for found in (soft_hi(attention, coverage), soft_chance(attention, coverage)):
        assert found.isnan().tolist() == [True, False]
