"""Blocked edges beside slow code that knows nothing of ours, and the random edges that they are compared with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datasetkit.errors import ModelError
from hi_scoring.attention import instrumented
from hi_scoring.interventions.edges import Block, EdgeBlocker, Edges, window_around
from hi_scoring.interventions.positions import Flow
from tests.hi_scoring.interventions.asking import LONG, SHORT, Batch, blocked, put, question
from tests.hi_scoring.interventions.slow import slow_logits
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import HEADS, LAYERS

TOLERANCE = 1e-4


def edges_of(batch: Batch, row: int, name: str) -> Edges:
    flow, places = Flow.of(name), batch.places[row]
    return Edges.between(places[flow.source], places[flow.target], batch.length)


@pytest.mark.parametrize(
    "heads", [None, ((0, 1), (0, 2), (1, 0), (1, 3), (2, 1), (3, 2))], ids=["all heads", "chosen heads"]
)
@pytest.mark.parametrize("name", family_params())
def test_each_row_of_a_padded_batch_has_edges_and_layers_of_its_own(name: str, heads) -> None:
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
        assert (edited - plain)[row][real[row]].abs().max() > 100 * TOLERANCE


def test_a_query_that_would_lose_every_key_is_refused_with_its_place() -> None:
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


KEYS = [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]]
VISIBLE = [[1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1]]


def test_random_edges_are_as_many_others_that_each_query_sees() -> None:
    edges = Edges(torch.tensor([4, 5]), torch.tensor(KEYS, dtype=torch.bool))
    visible = torch.tensor(VISIBLE, dtype=torch.bool)
    found = set()
    for seed in range(40):
        drawn = edges.drawn_like(visible, np.random.default_rng(seed))
        assert torch.equal(drawn.targets, edges.targets)
        assert drawn.keys.sum(1).tolist() == [2, 1]
        assert not (drawn.keys & (edges.keys | ~visible)).any()
        assert drawn.shared_with(edges) == 0
        found.add(tuple(drawn.keys[0].nonzero()[:, 0].tolist()))
    assert found == {(2, 3), (2, 4), (3, 4)}


def test_where_there_are_too_few_others_the_edges_own_keys_may_be_drawn() -> None:
    edges = Edges(torch.tensor([3]), torch.tensor([[1, 1, 1, 0]], dtype=torch.bool))
    seen = torch.ones(1, 4, dtype=torch.bool)
    shares = {edges.drawn_like(seen, np.random.default_rng(seed)).shared_with(edges) for seed in range(40)}
    assert shares == {2 / 3, 1.0}


def test_no_edges_share_nothing() -> None:
    none = Edges(torch.tensor([3]), torch.zeros(1, 4, dtype=torch.bool))
    assert none.drawn_like(torch.ones(1, 4, dtype=torch.bool), np.random.default_rng(0)).shared_with(none) == 0
