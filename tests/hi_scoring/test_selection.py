"""Layers and heads chosen by rules: literal scores, ties, incomparable selections, and unreadable texts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import RecipeError
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.selection import Selection, Selector
from datasetkit.options.head_forms import SELECTIONS
from datasetkit.options.heads import ScoreOptions

NAN = math.nan
# Layers from the highest to the lowest mean: 2, 0, 3, 1. By their highest head: 0, 2, 3, 1.
FOUR = [[0.9, 0.1, 0.2], [0.0, 0.1, 0.2], [0.5, 0.6, 0.7], [0.4, 0.3, 0.2]]


def scores_of(heads: list[list[float]], **more: list[list[float]]) -> HeadScores:
    values = {("hi", "response"): np.array([heads])}
    values |= {tuple(name.split("_")): np.array([other]) for name, other in more.items()}
    return HeadScores(
        values,
        chances={},
        record_ids=["r0"],
        options=ScoreOptions(),
        model=ModelIdentity("model", "tiny", None, "0" * 64),
        dataset={"name": "toy"},
    )


def selector_of(heads: list[list[float]], **options: object) -> Selector:
    return Selector((len(heads), len(heads[0])), scores_of(heads), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("all", (0, 1, 2, 3)),
        ("layers:1", (1,)),
        ("top-layers:1", (2,)),
        ("top-layers:2", (0, 2)),
        ("bottom-layers:1", (1,)),
        ("bottom-layers:2", (1, 3)),
    ],
)
def test_layers_are_chosen_in_ascending_order(text: str, layers: tuple[int, ...]) -> None:
    assert selector_of(FOUR).select(text) == Selection(text, layers, None)


@pytest.mark.parametrize(
    ("text", "heads"),
    [
        ("top-heads:1", [(0, 0)]),
        ("top-heads:4", [(0, 0), (2, 0), (2, 1), (2, 2)]),
        ("bottom-heads:2", [(1, 0), (1, 1)]),
        # 0.0; 0.1 twice; the last two of the four with 0.2.
        ("bottom-heads:5", [(0, 1), (1, 0), (1, 1), (1, 2), (3, 2)]),
    ],
)
def test_heads_are_chosen_in_ascending_order(text: str, heads: list[tuple[int, int]]) -> None:
    expected = tuple(Head(*head) for head in heads)
    found = selector_of(FOUR).select(text)
    assert found == Selection(text, tuple(sorted({head.layer for head in expected})), expected)


def test_heads_of_a_layer_are_indices() -> None:
    found = selector_of(FOUR).select("top-heads:4")
    assert [found.heads_in(layer) for layer in range(4)] == [(0,), (), (0, 1, 2), ()]
    assert selector_of(FOUR).select("all").heads_in(0) is None


def test_layers_are_ranked_by_requested_scores() -> None:
    assert selector_of(FOUR, reduce="max").select("top-layers:1").layers == (0,)
    assert selector_of(FOUR, reduce=2).select("top-layers:1").layers == (2,)
    ram = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.5]]
    by_ram = Selector((4, 3), scores_of(FOUR, ram_last=ram), by="ram:last")
    assert by_ram.select("top-layers:1").layers == (1,)
    assert by_ram.select("top-heads:2").heads == (Head(1, 0), Head(3, 2))


def test_ties_keep_order_and_ends_never_overlap() -> None:
    equal = selector_of([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    assert equal.select("top-layers:2").layers == (0, 1)
    assert equal.select("bottom-layers:2").layers == (2, 3)
    assert equal.select("top-heads:4").heads == (Head(0, 0), Head(0, 1), Head(1, 0), Head(1, 1))
    assert equal.select("bottom-heads:4").heads == (Head(2, 0), Head(2, 1), Head(3, 0), Head(3, 1))


def test_heads_without_score_are_never_chosen() -> None:
    partly = selector_of([[0.1, NAN, 0.4], [NAN, NAN, NAN], [0.3, 0.2, 0.5], [0.9, 0.8, NAN]])
    assert partly.select("top-layers:1").layers == (3,)
    assert partly.select("bottom-layers:1").layers == (0,)
    assert partly.select("bottom-heads:2").heads == (Head(0, 0), Head(2, 1))
    drawn = {partly.select(f"random-heads:3:{seed}").heads for seed in range(40)}
    scored = {(0, 0), (0, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1)}
    assert {head for heads in drawn if heads for head in heads} <= {Head(*head) for head in scored}
    assert {partly.select(f"random-layers:1:{seed}").layers for seed in range(40)} == {(2,)}


def test_random_layers_are_neither_the_top_nor_the_bottom_ones() -> None:
    selector = selector_of(FOUR)
    drawn = {selector.select(f"random-layers:2:{seed}").layers for seed in range(60)}
    assert drawn == {(0, 1), (0, 3), (1, 2), (2, 3)}
    assert {selector.select(f"random-layers:1:{seed}").layers for seed in range(40)} == {(0,), (3,)}


def test_random_heads_match_top_heads_in_each_layer() -> None:
    heads = np.random.default_rng(0).random((6, 8))
    selector = selector_of(heads.tolist())
    top = selector.select("top-heads:15")
    draws = [selector.select(f"random-heads:15:{seed}") for seed in range(10)]
    for draw in draws:
        assert draw.layers == top.layers
        assert [len(draw.heads_in(layer) or ()) for layer in range(6)] == [
            len(top.heads_in(layer) or ()) for layer in range(6)
        ]
    assert len({draw.heads for draw in draws} | {top.heads}) == 11


def test_random_heads_are_never_an_end() -> None:
    # One of three heads in each of two layers: nine choices, one of them the top and one the bottom.
    selector = selector_of([[0.9, 0.5, 0.1], [0.8, 0.4, 0.0]])
    drawn = {selector.select(f"random-heads:2:{seed}").heads for seed in range(120)}
    assert len(drawn) == 7
    assert not drawn & {(Head(0, 0), Head(1, 0)), (Head(0, 2), Head(1, 2))}


def test_random_sets_are_distinct_with_rising_seeds() -> None:
    selector = selector_of(np.random.default_rng(0).random((6, 8)).tolist())
    found = selector.random_heads(5, 4, seed=3)
    assert [one.name for one in found] == [f"random-heads:5:{seed}" for seed in range(3, 7)]
    assert found == [selector.select(one.name) for one in found]
    assert selector.random_heads(5, 9)[3:7] == found
    assert selector.random_heads(5, 9)[:2] == selector.random_heads(5, 2)


def test_fewer_distinct_random_sets_are_returned() -> None:
    selector = selector_of([[0.9, 0.5, 0.1], [0.8, 0.4, 0.0]])
    found = selector.random_heads(2, 50)
    assert len({one.heads for one in found}) == len(found) == 7
    # Each set by the first seed that draws it.
    seeds = [int(one.name.rpartition(":")[2]) for one in found]
    drawn = [selector.select(f"random-heads:2:{seed}").heads for seed in range(max(seeds) + 1)]
    assert seeds == sorted(drawn.index(one.heads) for one in found)


def test_draws_depend_only_on_the_seed() -> None:
    heads = np.arange(96.0).reshape(12, 8)
    first, second = selector_of(heads.tolist()), selector_of(heads.tolist())
    texts = [f"random-layers:4:{seed}" for seed in range(3)] + [f"random-heads:6:{seed}" for seed in range(3)]
    backwards = [second.select(text) for text in reversed(texts)][::-1]
    assert [first.select(text) for text in texts] == backwards
    # Literal, so that a machine or version that draws differently is noticed.
    assert [first.select(text).layers for text in texts[:3]] == [(3, 5, 6, 7), (4, 5, 8, 11), (1, 2, 3, 7)]
    assert [first.select(text).heads_in(11) for text in texts[3:]] == [
        (0, 1, 2, 3, 4, 6),
        (0, 1, 2, 3, 5, 7),
        (0, 1, 2, 5, 6, 7),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("layers:9,1,5", "layers:1,5,9"),
        ("layers:01", "layers:1"),
        ("top-layers:02", "top-layers:2"),
        ("random-heads:003:07", "random-heads:3:7"),
    ],
)
def test_one_selection_has_one_name(text: str, name: str) -> None:
    selector = selector_of(np.arange(24.0).reshape(12, 2).tolist())
    assert selector.select(text).name == name
    assert selector.select(text) == selector.select(name)


def test_layers_by_number_and_all_need_no_scores() -> None:
    selector = Selector((12, 4))
    assert selector.select("layers:9,1,5").layers == (1, 5, 9)
    assert selector.select("all").layers == tuple(range(12))
    for text in ("top-layers:1", "bottom-heads:1", "random-layers:1:0"):
        with pytest.raises(RecipeError, match=f"{text} needs head scores; give those of the model"):
            selector.select(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "top",
        "top-layers",
        "top-layers:",
        "top-layers:-1",
        "top-layers:1.5",
        "top-layers:1:0",
        "top-neurons:1",
        "random-layers:1",
        "random-heads:1:",
        "random-heads:1:0:0",
        "layers:",
        "layers:1,",
        "layers:1, 5",
        "layers:a",
        "heads:1",
        "ALL",
        "all ",
        "all\n",
        "top-layers:\u0661",
    ],
)
def test_unknown_forms_list_known_forms(text: str) -> None:
    with pytest.raises(RecipeError, match="is not a selection") as caught:
        selector_of(FOUR).select(text)
    assert str(caught.value).endswith(f"known: {', '.join(SELECTIONS)}")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["layers:1,1", "layers:4", "layers:0,99"])
def test_missing_or_repeated_layers_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=f"{text} is impossible; give each layer once, from 0 to 3"):
        selector_of(FOUR).select(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top-layers:0", "asks for 0; 4 have a score, so 1 to 2 can be chosen"),
        ("top-layers:3", "asks for 3; 4 have a score, so 1 to 2 can be chosen"),
        ("bottom-layers:3", "asks for 3; 4 have a score, so 1 to 2 can be chosen"),
        ("random-layers:3:0", "asks for 3; 4 have a score, so 1 to 2 can be chosen"),
        ("bottom-layers:5", "asks for 5; 4 have a score, so 1 to 2 can be chosen"),
        ("top-heads:7", "asks for 7; 12 have a score, so 1 to 6 can be chosen"),
        ("random-heads:13:0", "asks for 13; 12 have a score, so 1 to 6 can be chosen"),
    ],
)
def test_overlapping_ends_list_possible_numbers(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"{text} by hi:response {message}"):
        selector_of(FOUR).select(text)


def test_more_than_scored_are_refused() -> None:
    partly = selector_of([[0.1, NAN], [NAN, NAN], [0.2, NAN], [0.3, NAN]])
    with pytest.raises(RecipeError, match="asks for 2; 3 have a score, so 1 to 1 can be chosen"):
        partly.select("top-layers:2")
    with pytest.raises(RecipeError, match="asks for 4; 3 have a score, so 1 to 1 can be chosen"):
        partly.select("top-heads:4")
    with pytest.raises(RecipeError, match="asks for 1; 1 have a score, so none can be chosen"):
        selector_of([[0.1, NAN], [NAN, NAN]]).select("bottom-heads:1")


@pytest.mark.parametrize(
    ("heads", "text"),
    [
        # With two layers, one is the highest and the other the lowest.
        ([[0.1, 0.2], [0.3, 0.4]], "random-layers:1:0"),
        # The highest heads are all heads of their layer.
        ([[0.9, 0.8], [0.1, 0.2], [0.3, 0.4]], "random-heads:2:0"),
        # They are all heads of their layer with a score.
        ([[0.9, NAN], [0.1, 0.2], [0.3, 0.4]], "random-heads:1:0"),
        # In each layer one head is the highest and the other the lowest one.
        ([[0.9, 0.1]], "random-heads:1:0"),
    ],
)
def test_draws_that_could_only_be_an_end_are_refused(heads: list[list[float]], text: str) -> None:
    with pytest.raises(RecipeError, match=f"{text} by hi:response has nothing to draw"):
        selector_of(heads).select(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "ram:response"}, "no score is called ram:response; known: hi:response"),
        ({"by": "hi"}, "no score is called hi:; known: hi:response"),
        ({"reduce": "median"}, "no layer score is called 'median'; known: mean, max"),
        ({"reduce": 0}, "no layer score is called 0; known: mean, max"),
    ],
)
def test_unknown_scores_list_known_ones(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        selector_of(FOUR, **options)


def test_scores_of_a_model_of_another_shape_are_refused() -> None:
    with pytest.raises(
        RecipeError, match="the scores cover 4 layers of 3 heads, the model has 3 of 4; give scores of this"
    ):
        Selector((3, 4), scores_of(FOUR))


@pytest.mark.parametrize(
    ("layers", "heads"),
    [
        ((), None),
        ((1, 0), None),
        ((1, 1), None),
        ((-1,), None),
        ((0,), ()),
        ((0,), (Head(1, 0),)),
        ((0,), (Head(0, 1), Head(0, 0))),
        ((0,), (Head(0, 1), Head(0, 1))),
        ((0,), (Head(0, -1),)),
    ],
    ids=str,
)
def test_empty_or_unsorted_selection_is_refused(layers: tuple[int, ...], heads: tuple[Head, ...] | None) -> None:
    with pytest.raises(RecipeError, match="mine has"):
        Selection("mine", layers, heads)


def test_own_heads_are_sorted() -> None:
    heads = (Head(3, 1), Head(0, 2), Head(3, 0))
    assert Selection.of_heads("mine", heads) == Selection("mine", (0, 3), (Head(0, 2), Head(3, 0), Head(3, 1)))
