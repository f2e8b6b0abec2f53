"""Links of phrases with detections: a table of literal scores, and properties for any scores and any text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasetkit.annotation.alignment import AlignmentReason, PhraseQuery, link, phrase_query
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.core.detections import Region
from datasetkit.core.protocols import NounPhrase
from datasetkit.core.record import KeyObject, Phrase, PhraseStatus, Record
from datasetkit.options.grounding import LinkOptions
from tests.annotation.scenes import mask, record

FINDER = NounPhraseFinder()
MATCHED, AMBIGUOUS, ABSENT = PhraseStatus.MATCHED, PhraseStatus.AMBIGUOUS, PhraseStatus.ABSENT


def region(number: int, scores: Sequence[float], *, is_group: bool = False) -> Region:
    return Region(number, (0.0, 0.0, 4.0, 4.0), tuple(scores), mask(0, 0, 4, 4), is_group=is_group)


def regions_of(scores: np.ndarray, groups: Sequence[int] = ()) -> list[Region]:
    """Make a region for each row of scores (N, P)."""
    return [region(place, row, is_group=place in groups) for place, row in enumerate(scores.tolist())]


def linked(
    text: str, nouns: Sequence[NounPhrase], asked: PhraseQuery, regions: Sequence[Region], **options: float
) -> tuple[Phrase, ...]:
    return link(text, nouns, asked, regions, LinkOptions(**options))


def linked_table(text: str, table: Mapping[str, Sequence[float]], groups: Sequence[int] = ()) -> dict[str, Phrase]:
    """Link a text whose phrases score the regions as the table says."""
    nouns = FINDER.find(text)
    asked = phrase_query(text, nouns, "phrases")
    assert set(table) == set(asked.query.phrases)
    scores = np.array([table[phrase] for phrase in asked.query.phrases])
    return {phrase.text: phrase for phrase in linked(text, nouns, asked, regions_of(scores.T, groups))}


# (text, scores of each phrase for regions 0, 1, ..., and the regions that each phrase names)
NAMED: list[tuple[str, dict[str, list[float]], dict[str, list[int]]]] = [
    ("a cat", {"a cat": [0.8]}, {"a cat": [0]}),
    ("a cat", {"a cat": [0.2, 0.5, 0.7]}, {"a cat": [2]}),
    ("two cats", {"two cats": [0.9, 0.4, 0.8]}, {"two cats": [0, 2]}),
    ("two cats", {"two cats": [0.9, 0.4]}, {"two cats": [0, 1]}),
    ("cats", {"cats": [0.9, 0.7, 0.4]}, {"cats": [0, 1]}),
    # A mean over words is half as high where only one of the words fits.
    ("a red square", {"a red square": [0.9, 0.45]}, {"a red square": [0]}),
    ("red squares", {"red squares": [0.9, 0.45, 0.8]}, {"red squares": [0, 2]}),
    (
        "a red square and a red circle",
        {"a red square": [0.9, 0.5], "a red circle": [0.5, 0.9]},
        {"a red square": [0], "a red circle": [1]},
    ),
    ("a red square and a red circle", {"a red square": [0.5], "a red circle": [0.9]}, {"a red circle": [0]}),
    # Each gets what is best for all of them together.
    (
        "a man and another man",
        {"a man": [0.9, 0.85], "another man": [0.9, 0.5]},
        {"a man": [1], "another man": [0]},
    ),
    (
        "a man, a woman and a child",
        {"a man": [0.6, 0.4, 0.0], "a woman": [0.6, 0.6, 0.45], "a child": [0.0, 0.6, 0.62]},
        {"a man": [0], "a woman": [1], "a child": [2]},
    ),
    # A phrase that repeats an earlier one names the same objects.
    ("a cat sleeps. The cat is black", {"a cat": [0.9, 0.4], "The cat": [0.5, 0.6]}, {"a cat": [0], "The cat": [0]}),
    (
        "a red square and a blue circle. The circle is large",
        {"a red square": [0.8, 0.1], "a blue circle": [0.1, 0.8], "The circle": [0.2, 0.2]},
        {"a red square": [0], "a blue circle": [1], "The circle": [1]},
    ),
    (
        "two red squares. The two objects are small",
        {"two red squares": [0.8, 0.8], "The two objects": [0.1, 0.1]},
        {"two red squares": [0, 1], "The two objects": [0, 1]},
    ),
    (
        "red squares. The objects",
        {"red squares": [0.8, 0.8], "The objects": [0, 0]},
        {"red squares": [0, 1], "The objects": [0, 1]},
    ),
    (
        "a red square. The red square. The square",
        {"a red square": [0.8], "The red square": [0.1], "The square": [0.1]},
        {"a red square": [0], "The red square": [0], "The square": [0]},
    ),
    # The phrase with the best score speaks for all of them.
    ("a cat. The cat", {"a cat": [0.8, 0.75], "The cat": [0.9, 0.1]}, {"a cat": [0], "The cat": [0]}),
    (
        "a small black cat. The cat",
        {"a small black cat": [0.1, 0.0], "The cat": [0.9, 0.0]},
        {"a small black cat": [0], "The cat": [0]},
    ),
    # A phrase that may repeat two phrases, has another number or contains "other" is judged by its own scores.
    ("the cat", {"the cat": [0.9, 0.4]}, {"the cat": [0]}),
    (
        "a red square and a blue square. The square",
        {"a red square": [0.9, 0.4], "a blue square": [0.4, 0.9], "The square": [0.4, 0.8]},
        {"a red square": [0], "a blue square": [1], "The square": [1]},
    ),
    (
        "three red squares. The two squares",
        {"three red squares": [0.8, 0.8, 0.8], "The two squares": [0.9, 0.9, 0.1]},
        {"three red squares": [0, 1, 2], "The two squares": [0, 1]},
    ),
    (
        "a cat and the other cat",
        {"a cat": [0.9, 0.5], "the other cat": [0.7, 0.8]},
        {"a cat": [0], "the other cat": [1]},
    ),
    (
        "two cats and dogs",
        {"two cats": [0.9, 0.9, 0.1], "dogs": [0.5, 0.5, 0.6]},
        {"two cats": [0, 1], "dogs": [2]},
    ),
    ("cats and dogs", {"cats": [0.9, 0.9, 0.1], "dogs": [0.5, 0.5, 0.6]}, {"cats": [0, 1], "dogs": [2]}),
    (
        "a red square and a blue circle. The objects",
        {"a red square": [0.9, 0.1, 0.1], "a blue circle": [0.1, 0.9, 0.1], "The objects": [0.6, 0.6, 0.6]},
        {"a red square": [0], "a blue circle": [1], "The objects": [0, 1, 2]},
    ),
    # With another noun, scores can decide.
    ("a cat and the animal", {"a cat": [0.9, 0.1], "the animal": [0.6, 0.2]}, {"a cat": [0], "the animal": [0]}),
    (
        "a cat and a dog. The animals play",
        {"a cat": [0.9, 0.2], "a dog": [0.2, 0.9], "The animals": [0.6, 0.6]},
        {"a cat": [0], "a dog": [1], "The animals": [0, 1]},
    ),
    (
        "a player and people",
        {"a player": [0.9, 0.1, 0.2], "people": [0.4, 0.8, 0.7]},
        {"a player": [0], "people": [1, 2]},
    ),
]
LESS_SURE = [
    ("three cats", [0.8, 0.6], (), [0, 1], AlignmentReason.FEWER_THAN_SAID),
    ("a cat", [0.8], (0,), [0], AlignmentReason.CROWD_ONLY),
    ("four cats", [0.8, 0.6], (0,), [0, 1], AlignmentReason.CROWD_ONLY),
    ("a cat", [0.9, 0.5], (0,), [1], None),
    ("cats", [0.9, 0.8], (0,), [0, 1], None),
]
UNSURE = [
    ("a cat", {"a cat": [0.8, 0.75]}, "a cat", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("a cat", {"a cat": [0.7, 0.6, 0.2]}, "a cat", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("two cats", {"two cats": [0.9, 0.8, 0.75]}, "two cats", [0, 1, 2], AlignmentReason.TOO_MANY_FIT),
    (
        "a man and a woman",
        {"a man": [0.9, 0.0, 0.0], "a woman": [0.7, 0.7, 0.68]},
        "a woman",
        [1, 2],
        AlignmentReason.TOO_MANY_FIT,
    ),
    ("a man and a woman", {"a man": [0.8], "a woman": [0.75]}, "a man", [0], AlignmentReason.CONTESTED),
    ("a man and a woman", {"a man": [0.8], "a woman": [0.75]}, "a woman", [0], AlignmentReason.CONTESTED),
    (
        "a man and another man",
        {"a man": [0.8, 0.8], "another man": [0.8, 0.8]},
        "a man",
        [0, 1],
        AlignmentReason.TOO_MANY_FIT,
    ),
    ("a cat. The cat", {"a cat": [0.8, 0.75], "The cat": [0.8, 0.1]}, "The cat", [0, 1], AlignmentReason.TOO_MANY_FIT),
]
MISSING = [
    ("a cat", {"a cat": [0.2, 0.29]}, "a cat", AlignmentReason.NOT_FOUND),
    ("a cat and a dog", {"a cat": [0.9], "a dog": [0.5]}, "a dog", AlignmentReason.OUTSCORED),
    ("no cats and a dog", {"a dog": [0.9]}, "no cats", AlignmentReason.NEGATED),
]


@pytest.mark.parametrize(("text", "table", "expected"), NAMED)
def test_matched(text: str, table: dict[str, list[float]], expected: dict[str, list[int]]) -> None:
    phrases = linked_table(text, table)
    assert {words: list(item.object_ids) for words, item in phrases.items() if item.status is MATCHED} == expected
    for words, ids in expected.items():
        assert phrases[words].reason is None
        assert phrases[words].score == pytest.approx(np.mean([table[words][place] for place in ids]), abs=1e-6)


@pytest.mark.parametrize(("text", "scores", "groups", "ids", "reason"), LESS_SURE)
def test_numbers_and_groups(
    text: str, scores: list[float], groups: tuple[int, ...], ids: list[int], reason: AlignmentReason | None
) -> None:
    (phrase,) = linked_table(text, {text: scores}, groups).values()
    assert (phrase.status, list(phrase.object_ids), phrase.reason) == (MATCHED, ids, reason)


@pytest.mark.parametrize(("text", "table", "words", "candidates", "reason"), UNSURE)
def test_ambiguous(
    text: str, table: dict[str, list[float]], words: str, candidates: list[int], reason: AlignmentReason
) -> None:
    phrase = linked_table(text, table)[words]
    assert (phrase.status, phrase.object_ids, phrase.reason) == (AMBIGUOUS, (), reason)
    assert sorted(candidate.object_id for candidate in phrase.candidates) == candidates
    shares = [candidate.score for candidate in phrase.candidates]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1.0, abs=1e-4)
    assert phrase.score == shares[0]


@pytest.mark.parametrize(("text", "table", "words", "reason"), MISSING)
def test_absent(text: str, table: dict[str, list[float]], words: str, reason: AlignmentReason) -> None:
    phrase = linked_table(text, table)[words]
    assert (phrase.status, phrase.object_ids, phrase.candidates, phrase.score) == (ABSENT, (), (), None)
    assert phrase.reason == reason


@pytest.mark.parametrize(
    ("option", "value", "before", "after"),
    [("score_min", 0.6, [0], []), ("rival_share", 0.4, [0], [0, 1]), ("margin", 0.5, [0], [])],
)
def test_each_option_decides(option: str, value: float, before: list[int], after: list[int]) -> None:
    text = "cats" if option == "rival_share" else "a cat"
    nouns = FINDER.find(text)
    regions = regions_of(np.array([[0.55], [0.25 if option == "score_min" else 0.32]]))
    asked = phrase_query(text, nouns, "phrases")
    assert [list(item.object_ids) for item in linked(text, nouns, asked, regions)] == [before]
    assert [list(item.object_ids) for item in linked(text, nouns, asked, regions, **{option: value})] == [after]


def test_phrases_prompt_lists_the_objects() -> None:
    text = "The left of a red square, a cat, no dogs and a cat"
    asked = phrase_query(text, FINDER.find(text), "phrases")
    assert asked.query.text == "a red square . a cat ."
    assert asked.query.phrases == ("a red square", "a cat")
    assert asked.columns == (None, 0, 1, None, 1)


def test_caption_prompt_marks_the_objects() -> None:
    text = "The left of a red square, a cat, no dogs and a cat"
    asked = phrase_query(text, FINDER.find(text), "caption")
    assert (asked.query.text, asked.query.phrases) == (text, ("a red square", "a cat", "a cat"))
    assert asked.columns == (None, 0, 1, None, 2)


def test_phrase_that_is_not_an_object_stays() -> None:
    phrase = linked_table("the left of a cat", {"a cat": [0.9]})["the left"]
    assert (phrase.status, phrase.reason, phrase.score) == (PhraseStatus.NOT_AN_OBJECT, None, None)


_WORDS = (
    "a the two three no cat cats dog people man woman another other of group object objects animals red The . 😀 ## é"
)


@st.composite
def scenes(
    draw: st.DrawFn, text: st.SearchStrategy[str]
) -> tuple[str, Sequence[NounPhrase], PhraseQuery, list[Region]]:
    description = draw(text)
    nouns = FINDER.find(description)
    asked = phrase_query(description, nouns, draw(st.sampled_from(["phrases", "caption"])))
    count = draw(st.integers(0, 6))
    cells = count * len(asked.query.spans)
    values = draw(st.lists(st.sampled_from([0.0, 0.25, 0.3, 0.45, 0.5, 0.8, 0.9, 1.0]), min_size=cells, max_size=cells))
    groups = draw(st.sets(st.integers(0, 5), max_size=2))
    scores = np.array(values, dtype=np.float64).reshape(count, len(asked.query.spans))
    return description, nouns, asked, regions_of(scores, sorted(groups))


_captions = st.lists(st.sampled_from(_WORDS.split(" ")), max_size=30).map(" ".join)
Scene = tuple[str, Sequence[NounPhrase], PhraseQuery, list[Region]]


def assert_sound(text: str, nouns: Sequence[NounPhrase], regions: Sequence[Region], phrases: Sequence[Phrase]) -> None:
    """Check what must hold for any result, in addition to the record's own checks."""
    bare = record(text or None, "")
    objects = tuple(KeyObject(place, item.mask, is_crowd=item.is_group) for place, item in enumerate(regions))
    assert isinstance(replace(bare, objects=objects, phrases=tuple(phrases)), Record)
    assert [(item.start, item.end) for item in phrases] == [(noun.start, noun.end) for noun in nouns]
    for noun, phrase in zip(nouns, phrases, strict=True):
        singles = [place for place in phrase.object_ids if not regions[place].is_group]
        assert noun.number is None or len(singles) <= noun.number
        assert (phrase.status is PhraseStatus.NOT_AN_OBJECT) == (not noun.is_object)
        assert (phrase.status is AMBIGUOUS) == bool(phrase.candidates)
        assert (phrase.status is ABSENT) <= (phrase.reason in set(AlignmentReason))
        assert not phrase.candidates or abs(sum(item.score for item in phrase.candidates) - 1.0) < 1e-4


@settings(max_examples=150, deadline=None)
@given(scenes(st.one_of(_captions, st.text(max_size=80))))
def test_any_text_and_scores_yield_valid_phrases(scene: Scene) -> None:
    text, nouns, asked, regions = scene
    asked_for = [noun for noun in nouns if noun.is_object and noun.number != 0]
    assert set(asked.query.phrases) == {text[noun.start : noun.end] for noun in asked_for}
    assert_sound(text, nouns, regions, linked(*scene))


@settings(max_examples=150, deadline=None)
@given(scenes(_captions), st.randoms(use_true_random=False))
def test_order_of_regions_is_irrelevant(scene: Scene, random: Random) -> None:
    text, nouns, asked, regions = scene
    order = list(range(len(regions)))
    random.shuffle(order)
    expected = linked(*scene)
    shuffled = linked(text, nouns, asked, [regions[place] for place in order])
    for one, other in zip(expected, shuffled, strict=True):
        assert {order[place] for place in other.object_ids} == set(one.object_ids)
        shares = {order[item.object_id]: item.score for item in other.candidates}
        assert shares == pytest.approx({item.object_id: item.score for item in one.candidates}, abs=2e-6)
        assert (other.status, other.reason) == (one.status, one.reason)


@settings(max_examples=100, deadline=None)
@given(scenes(_captions))
def test_region_without_scores_changes_nothing(scene: Scene) -> None:
    text, nouns, asked, regions = scene
    nothing = region(len(regions), [0.0] * len(asked.query.spans))
    assert linked(text, nouns, asked, [*regions, nothing]) == linked(*scene)


@settings(max_examples=100, deadline=None)
@given(scenes(_captions))
def test_singular_never_names_two(scene: Scene) -> None:
    text, nouns, asked, regions = scene
    alone = [replace(item, is_group=False) for item in regions]
    for noun, phrase in zip(nouns, linked(text, nouns, asked, alone), strict=True):
        assert noun.plural or noun.number is None or len(phrase.object_ids) <= 1


@pytest.mark.parametrize("count", [0, 1, 100])
def test_many_phrases_are_linked(count: int) -> None:
    names = ["a cat", "two dogs", "another man", "the animals", "people"]
    text = ", ".join(names[place % 5] for place in range(count))
    nouns = FINDER.find(text)
    asked = phrase_query(text, nouns, "caption")
    scores = np.random.default_rng(0).random((30, len(asked.query.spans)))
    regions = regions_of(scores)
    assert len(nouns) == count
    assert_sound(text, nouns, regions, linked(text, nouns, asked, regions))
