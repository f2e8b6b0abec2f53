"""Blocked edges compared with independent slow code, and the random edges that serve as controls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention import instrumented
from datasetkit.hi_scoring.interventions.edges import Block, EdgeBlocker, Edges, window_around
from datasetkit.hi_scoring.interventions.positions import Flow
from tests.hi_scoring.interventions.asking import LONG, SHORT, Batch, blocked, put, question
from tests.hi_scoring.interventions.slow import slow_logits
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import HEADS, LAYERS
from tests.precision import CHANGED, TOLERANCE

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("in_float64")]


def edges_of(batch: Batch, row: int, name: str) -> Edges:
    flow, places = Flow.of(name), batch.places[row]
    return Edges.between(places[flow.source], places[flow.target], batch.length)


@pytest.mark.parametrize(
    "heads", [None, ((0, 1), (0, 2), (1, 0), (1, 3), (2, 1), (3, 2))], ids=["all heads", "chosen heads"]
)
@pytest.mark.parametrize("name", family_params())
def test_padded_rows_have_separate_edges_and_layers(name: str, heads) -> None:
    family = tiny(name)
    batch = put(family, question(LONG), question(SHORT, 1))
    edges = [edges_of(batch, 0, "image -> question"), edges_of(batch, 1, "image -> question")]
    windows = [(0, 2), (1, LAYERS)]
    expected = slow_logits(family.model, batch.inputs, blocked(edges, windows, batch.length, heads))
    chosen = None
    if heads is not None:
        chosen = torch.zeros(LAYERS, HEADS, dtype=torch.bool)
        chosen[tuple(zip(*heads, strict=True))] = True
    blocker = EdgeBlocker([Block(*pair) for pair in zip(edges, windows, strict=True)], chosen)
    with torch.no_grad():
        plain = family.model(**batch.inputs).logits
        with instrumented(family.model, editors=[blocker]):
            edited = family.model(**batch.inputs).logits
    real = batch.inputs["attention_mask"].bool()
    assert (edited - expected)[real].abs().max() < TOLERANCE
    for row in range(2):
        assert (edited - plain)[row][real[row]].abs().max() > CHANGED


def test_query_without_any_key_is_refused_and_named() -> None:
    family = tiny("llava")
    batch = put(family, question())
    every = Edges.between(torch.arange(batch.length), torch.tensor([batch.length - 1]), batch.length)
    with (
        torch.no_grad(),
        instrumented(family.model, editors=[EdgeBlocker([Block(every, (2, 3))])]),
        pytest.raises(
            ModelError, match=rf"EdgeBlocker blocks every key of the row at slot {batch.length - 1} .*layer 2"
        ),
    ):
        family.model(**batch.inputs)


@pytest.mark.parametrize(
    ("layer", "size", "layers", "expected"),
    [
        (0, 9, 24, (0, 5)),
        (10, 9, 24, (6, 15)),
        (23, 9, 24, (19, 24)),
        (2, 1, 4, (2, 3)),
        (2, 2, 4, (1, 3)),
        (0, 2, 4, (0, 1)),
        (1, 9, 4, (0, 4)),
    ],
)
def test_windows_are_centred_and_clipped(layer: int, size: int, layers: int, expected: tuple[int, int]) -> None:
    assert window_around(layer, size, layers) == expected


def table(*rows: Sequence[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def any_key(count: int) -> Tensor:
    return torch.ones(count, dtype=torch.bool)


def test_random_edges_match_visible_counts() -> None:
    edges = Edges(torch.tensor([4, 5]), table([1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]))
    visible = table([1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1])
    found = set()
    for seed in range(40):
        drawn = edges.drawn_like(visible[None], any_key(6), np.random.default_rng(seed))
        assert torch.equal(drawn.targets, edges.targets)
        assert drawn.keys.sum(1).tolist() == [2, 1]
        assert not (drawn.keys & (edges.keys | ~visible)).any()
        assert edges.shared_with(drawn, visible[None]) == 0
        found.add(tuple(drawn.keys[0].nonzero()[:, 0].tolist()))
    assert found == {(2, 3), (2, 4), (3, 4)}


@pytest.mark.parametrize(
    ("lost", "pool"),
    [([1, 2], {3, 4, 5}), ([1, 2, 3], {0, 4, 5, 6, 7}), ([1, 2, 3, 4, 5], {0, 1, 2, 3, 4, 5, 6, 7})],
    ids=["enough alike", "enough others", "neither"],
)
def test_random_keys_are_of_the_same_kind_if_possible(lost: list[int], pool: set[int]) -> None:
    """Keys 1 to 5 of 8 belong to the image."""
    edges = Edges.between(torch.tensor(lost), torch.tensor([7]), 8)
    visible, image = any_key(8)[None, None], table([0, 1, 1, 1, 1, 1, 0, 0])[0]
    found: set[int] = set()
    for seed in range(60):
        drawn = edges.drawn_like(visible, image, np.random.default_rng(seed)).keys[0]
        assert int(drawn.sum()) == len(lost)
        found |= set(drawn.nonzero()[:, 0].tolist())
    assert found == pool


def test_random_edges_match_in_every_kind_of_layer() -> None:
    """Some layers see all keys up to the query, some only the last four."""
    edges = Edges.between(torch.tensor([0, 1, 5]), torch.tensor([7, 8]), 9)
    whole = table([1, 1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1])
    last = table([0, 0, 0, 0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1])
    for seed in range(40):
        drawn = edges.drawn_like(torch.stack([whole, last]), any_key(9), np.random.default_rng(seed))
        assert (drawn.keys & whole).sum(1).tolist() == [3, 3]
        assert (drawn.keys & last).sum(1).tolist() == [1, 1]
        assert not (drawn.keys & edges.keys).any()


def test_few_other_keys_allow_the_flows_keys() -> None:
    edges = Edges(torch.tensor([3]), table([1, 1, 1, 0]))
    seen = any_key(4)[None, None]
    drawn = [edges.drawn_like(seen, any_key(4), np.random.default_rng(seed)) for seed in range(40)]
    assert {edges.shared_with(one, seen) for one in drawn} == {2 / 3, 1.0}


def test_invisible_edges_are_not_counted_as_shared() -> None:
    edges = Edges(torch.tensor([1, 2]), table([1, 0, 0, 1], [0, 1, 0, 1]))
    other = Edges(torch.tensor([1, 2]), table([1, 0, 0, 0], [0, 0, 1, 1]))
    visible = table([1, 1, 0, 0], [1, 1, 1, 0])
    assert edges.shared_with(other, visible[None]) == 1 / 2
    # One kind of layer is enough.
    last = table([0, 0, 0, 1], [0, 0, 0, 0])
    assert edges.shared_with(other, torch.stack([visible, last])) == 1 / 3


def test_no_edges_share_nothing() -> None:
    none = Edges(torch.tensor([3]), torch.zeros(1, 4, dtype=torch.bool))
    seen = any_key(4)[None, None]
    drawn = none.drawn_like(seen, any_key(4), np.random.default_rng(0))
    assert not drawn.keys.any()
    assert none.shared_with(drawn, seen) == 0
