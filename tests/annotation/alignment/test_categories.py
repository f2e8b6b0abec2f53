"""Categories that are phrases: what names them, what does not, and toyworld's scenes, whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasetkit.annotation.alignment import AlignmentReason, KnownObjectAligner, extended
from datasetkit.annotation.alignment.categories import category_fits, category_of
from datasetkit.annotation.lexicon import category_words, coco_lexicon
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.core.record import Phrase, PhraseStatus, Record
from datasetkit.options import ToyworldOptions
from datasetkit.sources.toyworld import ToyworldSource
from datasetkit.toyworld.domain import BASE, SHIFTED, Domain
from tests.annotation.scenes import record

MATCHED, AMBIGUOUS, ABSENT = PhraseStatus.MATCHED, PhraseStatus.AMBIGUOUS, PhraseStatus.ABSENT

# (phrase, categories of objects 0, 1, ..., and the objects that it names)
NAMED = [
    ("a red star", "red star, blue star", [0]),
    ("A RED STAR", "red star, blue star", [0]),
    ("two stars", "red star, blue star, red ring", [0, 1]),
    ("a large star", "red star, blue ring", [0]),
    ("three crosses", "red cross, blue cross, pink cross", [0, 1, 2]),
    ("a ring", "large blue ring", [0]),
    ("a blue ring", "large blue ring, large red ring", [0]),
    ("a blue large ring", "large blue ring, small blue ring", [0]),
    ("a dark-red star", "dark red star, light red star", [0]),
    # A plain noun names things by the modifiers before it.
    ("three red objects", "red star, red ring, blue ring, red cross", [0, 1, 3]),
    ("the large red thing", "red star, blue star", [0]),
    # Categories as models find them: a phrase of a description, verbatim.
    ("two stars", "A red star, a red star", [0, 1]),
    ("the dogs", "two dogs, two dogs, a black cat", [0, 1]),
    ("a cat", "The cat", [0]),
    ("a kitten", "a black cat, a dog", [0]),
    ("an animal", "a black cat, a red car", [0]),
    ("people", "a man, two women, two women", [0, 1, 2]),
    ("people", "a group of people", [0]),
    ("dogs", "a group of black dogs, a group of black dogs", [0, 1]),
    ("a group of dogs", "black dogs, a group of people", [0]),
    ("a man", "men", [0]),
    ("a cat", "cat, a red car", [0]),
    ("a black cat", "cat, a black dog", [0]),
    # Words that the lexicon lists as naming nothing.
    ("a tennis court", "tennis court", [0]),
    # A plain noun names what its modifiers do not distinguish from others of that noun.
    ("a red star", "star, red star", [1]),
    ("a red fox", "fox, red panda", [0]),
]
# The image's objects are stars and rings of two colours; the caller also knows green crosses.
KNOWN_BUT_NOT_THERE = [
    "a green star",
    "a blue star",
    "a red cross",
    "a cross",
    "a green object",
    "a red and blue object",
    "two large green crosses",
]
NOT_KNOWN = ["a castle", "the object", "a large object", "a red castle", "a starfish"]


def align(text: str, categories: str, *more: str) -> tuple[Phrase, ...]:
    return KnownObjectAligner(lexicon=extended(coco_lexicon(), more)).align(record(text, categories)).phrases


@pytest.mark.parametrize(("text", "categories", "expected"), NAMED)
def test_named(text: str, categories: str, expected: list[int]) -> None:
    (phrase,) = align(text, categories)
    assert (phrase.status, list(phrase.object_ids), phrase.reason) == (MATCHED, expected, None)


SPELLINGS = [
    ("a street sign", "street_sign"),
    ("a computer mouse", "mouse_(computer_equipment)"),
    ("a person", "Person (adult)"),
    ("a potted plant", "PottedPlant"),
    ("a potted plant", "pottedplant"),
    ("a potted plant", "potted-plant"),
    ("a table", "diningtable"),
    ("a tv monitor", "tvmonitor"),
    ("a television", "TVMonitor"),
    ("TVs", "TVs"),
    ("a fire hydrant", "firehydrants"),
    ("a traffic light", "TRAFFIC_LIGHT"),
    ("a plane", "aeroplane"),
    ("a motorcycle", "motorbike"),
    ("a truck", "vehicle.truck"),
    ("an aerosol can", "aerosol_can"),
    ("an aerosol can", "AerosolCan"),
    ("a lion", "Lion_(animal)"),
    ("a bat", "bat_(animal)"),
    ("a baseball bat", "bat_(sports_equipment)"),
    ("a dog", "dog_1"),
    ("a dog", "dog.n.01"),
    ("a man", "person 12"),
    ("a traffic light", "TrafficLight2"),
    ("a lion", "lion-03"),
]


@pytest.mark.parametrize(("text", "category"), SPELLINGS)
def test_labelling_tool_names_are_read_as_words(text: str, category: str) -> None:
    scene = record(text, "cat")
    scene = replace(scene, objects=tuple(replace(item, category=category) for item in scene.objects))
    (phrase,) = KnownObjectAligner().align(scene).phrases
    assert (phrase.status, phrase.object_ids, phrase.reason) == (MATCHED, (0,), None)


@pytest.mark.parametrize("category", ["person_(adult)", "fire_hydrant", "diningtable", "aeroplane", "mice"])
def test_other_spelling_is_the_lexicon_category(category: str) -> None:
    lexicon = extended(coco_lexicon(), [category])
    assert lexicon.entries == coco_lexicon().entries
    assert lexicon.aliases[category] in {"person", "fire hydrant", "dining table", "airplane", "mouse"}


@pytest.mark.parametrize(
    ("text", "category"), [("a baseball bat", "bat_(animal)"), ("a computer mouse", "mouse_(animal)")]
)
def test_another_sense_is_not_linked(text: str, category: str) -> None:
    scene = record(text, "cat")
    scene = replace(scene, objects=tuple(replace(item, category=category) for item in scene.objects))
    (phrase,) = KnownObjectAligner().align(scene).phrases
    assert (phrase.status, phrase.reason) == (ABSENT, AlignmentReason.NO_INSTANCE)


def test_numbered_names_count_as_one_category() -> None:
    (phrase,) = align("a dog", "dog_1, dog_2")
    assert (phrase.status, phrase.reason) == (AMBIGUOUS, AlignmentReason.TOO_MANY_FIT)


def test_spellings_of_one_name_share_a_category() -> None:
    (phrase,) = align("three lions", "lion, Lion, LION_(animal)")
    assert phrase.object_ids == (0, 1, 2)


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("_", "_"),
        ("(x)", "x"),
        ("iPhone", "iphone"),
        ("McDonald", "mcdonald"),
        ("DVDs", "dvds"),
        ("7", "7"),
        ("mp3", "mp3"),
        ("3d_printer", "3d printer"),
    ],
)
def test_words_that_are_not_split(category: str, words: str) -> None:
    assert category_words(category) == words


def test_undecided_words_are_ambiguous() -> None:
    (phrase,) = align("a star", "red star, blue star, red ring")
    assert (phrase.status, phrase.reason) == (AMBIGUOUS, AlignmentReason.TOO_MANY_FIT)
    assert {candidate.object_id for candidate in phrase.candidates} == {0, 1}


@pytest.mark.parametrize("text", KNOWN_BUT_NOT_THERE)
def test_known_category_without_object_is_absent(text: str) -> None:
    (phrase,) = align(text, "red star, blue ring", "green cross", "blue star")
    assert (phrase.status, phrase.reason) == (ABSENT, AlignmentReason.NO_INSTANCE)


@pytest.mark.parametrize("text", NOT_KNOWN)
def test_unknown_word_names_no_category(text: str) -> None:
    (phrase,) = align(text, "red star, blue ring")
    assert (phrase.status, phrase.reason) == (ABSENT, AlignmentReason.NO_SUCH_CATEGORY)


def test_more_specific_mentions_claim_their_objects() -> None:
    star, red, other = align("a star, a red star and an object", "red star, blue star")
    assert (star.object_ids, red.object_ids) == ((1,), (0,))
    assert other.reason == AlignmentReason.NO_SUCH_CATEGORY
    squares, thing = align("two squares and a red object", "red square, blue square, red star")
    assert (squares.object_ids, thing.object_ids) == ((0, 1), (2,))


def test_different_words_need_different_objects() -> None:
    phrases = align("a large red star and a small red star", "red star")
    assert {(phrase.status, phrase.reason) for phrase in phrases} == {(AMBIGUOUS, AlignmentReason.CONTESTED)}
    assert [phrase.object_ids for phrase in align("a red star and the red star", "red star")] == [(0,), (0,)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a red star", [1.0, 0.0, 0.0]),
        ("star", [1 / (2 - 1 / 2), 1 / (2 - 1 / 2), 0.0]),
        ("a red thing", [1 / (3 - 1 / 2), 0.0, 1 / (3 - 1 / 2)]),
        ("a green star", [0.0, 0.0, 0.0]),
    ],
)
def test_closer_words_fit_better(words: str, expected: list[float]) -> None:
    categories = ["red star", "blue star", "red ring"]
    lexicon = extended(coco_lexicon(), [*categories, "green cross"])
    assert category_fits(words, categories, lexicon) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two red circles", "circle"),
        ("a red fire hydrant", "fire hydrant"),
        ("The Cats", "cat"),
        ("three women", "woman"),
        ("four small objects", None),
        ("a strange thing", None),
    ],
)
def test_category_of_a_phrase_is_its_head_noun(text: str, expected: str | None) -> None:
    [phrase] = NounPhraseFinder().find(text)
    assert category_of(phrase) == expected


def test_added_categories_follow_the_lexicon_categories() -> None:
    lexicon = extended(coco_lexicon(), ["a black cat", None, "cat"])
    assert lexicon.categories("kitten") == ("cat", "a black cat")
    assert lexicon.categories("a white kitten") == ("cat", "a black cat")
    assert lexicon.categories("animal") == (*coco_lexicon().categories("animal"), "a black cat")
    assert lexicon.categories("dog") == ("dog",)


SYNONYMS = {"traffic cone": ["pylon", "road_marker"], "tv": ["telly"], "bow (weapon)": ["longbow"]}


@pytest.mark.parametrize(
    ("words", "category"),
    [("an orange pylon", "traffic cone"), ("two road markers", "traffic cone"), ("a telly", "tv"), ("a lamp", None)],
)
def test_synonyms_name_their_category(words: str, category: str | None) -> None:
    lexicon = extended(coco_lexicon(), ["traffic cone", "tv"], SYNONYMS)
    assert lexicon.categories(words) == (() if category is None else (category,))


def test_synonyms_of_other_categories_are_not_known() -> None:
    assert extended(coco_lexicon(), ["traffic cone"], SYNONYMS).categories("a longbow") == ()


def test_known_categories_leave_the_lexicon_unchanged() -> None:
    assert extended(coco_lexicon(), ["cat", None]) is coco_lexicon()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), max_size=4), st.text(max_size=40))
@pytest.mark.slow
def test_any_category_and_text(categories: list[str], text: str) -> None:
    scene = record(text or None, "cat, cat, cat, cat")
    objects = tuple(replace(item, category=name) for item, name in zip(scene.objects, categories, strict=False))
    assert isinstance(KnownObjectAligner().align(replace(scene, objects=objects)), Record)


def toyworld_records(domain: Domain) -> Iterator[Record]:
    source = ToyworldSource(ToyworldOptions(count=40, scene_split="test", size_px=128, domain=domain.name))
    return (source.read(entry).record for entry in source.entries())


@pytest.mark.parametrize("domain", [BASE, SHIFTED], ids=lambda domain: domain.name)
def test_toyworld(domain: Domain) -> None:
    """Words decide all but sizes, which are in no category: such a phrase may be ambiguous, but is not lost."""
    aligner, sizes = KnownObjectAligner(), set(domain.vocabulary.sizes.values())
    exact = sized = 0
    for scene in toyworld_records(domain):
        found = {phrase.start: phrase for phrase in aligner.align(scene).phrases}
        for gold in scene.phrases:
            if gold.reason is not None:
                continue
            phrase = found[gold.start]
            assert phrase.text == gold.text
            if sizes.isdisjoint(gold.text.casefold().split()):
                assert (phrase.status, sorted(phrase.object_ids)) == (MATCHED, sorted(gold.object_ids)), scene
                exact += 1
            elif phrase.status is MATCHED:
                assert set(phrase.object_ids) >= set(gold.object_ids)
                sized += 1
            elif phrase.status is AMBIGUOUS:
                assert {item.object_id for item in phrase.candidates} >= set(gold.object_ids)
    assert min(exact, sized) > 20
