"""Alignment by words, categories and counts: a table of tiny scenes, and properties for any scene."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasetkit.annotation.alignment import AlignmentReason, KnownObjectAligner
from datasetkit.core.record import ObjectStatus, PhraseStatus, Record
from tests.annotation.scenes import mask, record

# (description, categories of objects 0, 1, ..., and for each phrase: head words, status, ids, reason)
MATCHED = [
    ("a cat", "cat", [("a cat", [0])]),
    ("a cat near the dog", "dog, cat", [("a cat", [1]), ("the dog", [0])]),
    ("two cats", "cat, dog, cat", [("two cats", [0, 2])]),
    ("cats", "cat, dog, cat, cat", [("cats", [0, 2, 3])]),
    ("people", "person, person*", [("people", [0, 1])]),
    ("a group of people", "person, person, person*", [("a group of people", [0, 1, 2])]),
    ("a crowd", "person, person*", [("a crowd", [0, 1])]),
    ("a couple", "person, person", [("a couple", [0, 1])]),
    ("a bunch of bananas", "banana, banana*", [("a bunch of bananas", [0, 1])]),
    ("a pair of skis", "skis, skis", [("a pair of skis", [0, 1])]),
    ("a pair of scissors", "scissors", [("a pair of scissors", [0])]),
    ("a slice of pizza", "pizza", [("a slice of pizza", [0])]),
    ("pizza", "pizza, pizza", [("pizza", [0, 1])]),
    ("the luggage", "suitcase, backpack, cat", [("the luggage", [0, 1])]),
    ("animals", "cat, person, dog", [("animals", [0, 2])]),
    ("a vehicle", "truck", [("a vehicle", [0])]),
    ("the fruit", "apple, banana", [("the fruit", [0, 1])]),
    ("a man", "person, person*", [("a man", [0])]),
    ("a cat and the animal", "cat", [("a cat", [0]), ("the animal", [0])]),
    ("a cat sleeps. The cat is black", "cat", [("a cat", [0]), ("The cat", [0])]),
    ("two dogs play while the dogs bark", "dog, dog", [("two dogs", [0, 1]), ("the dogs", [0, 1])]),
    ("a cat plays while the animals rest", "cat, dog", [("a cat", [0]), ("the animals", [0, 1])]),
    ("a cat plays with animals", "cat, dog", [("a cat", [0]), ("animals", [1])]),
    ("a laptop and a computer", "laptop, tv", [("a laptop", [0]), ("a computer", [1])]),
    ("a truck and other vehicles", "truck, car, bus", [("a truck", [0]), ("other vehicles", [1, 2])]),
    ("a player and people", "person, person*", [("a player", [0]), ("people", [1])]),
    ("a fire hydrant", "fire hydrant", [("a fire hydrant", [0])]),
    ("each plate has a cake", "cake", [("a cake", [0])]),
    ("the dogs' ball", "dog, sports ball", [("the dogs", [0]), ("ball", [1])]),
]
LESS_SURE = [
    ("three dogs", "dog, dog", [0, 1], AlignmentReason.FEWER_THAN_SAID),
    ("a man", "person*", [0], AlignmentReason.CROWD_ONLY),
    ("four men", "person, person*", [0, 1], AlignmentReason.CROWD_ONLY),
    ("a chair", "couch", [0], AlignmentReason.NEAR_CATEGORY),
    ("two bears", "teddy bear, teddy bear", [0, 1], AlignmentReason.NEAR_CATEGORY),
]
AMBIGUOUS = [
    ("a man", "person, person, person", "a man", [0, 1, 2], AlignmentReason.TOO_MANY_FIT),
    ("a man", "person, person, person*", "a man", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("two cats", "cat, cat, cat", "two cats", [0, 1, 2], AlignmentReason.TOO_MANY_FIT),
    ("one of the cats", "cat, cat", "one of the cats", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("a man and a woman", "person, person", "a woman", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("a man and a woman", "person", "a man", [0], AlignmentReason.CONTESTED),
    ("a man and a woman", "person", "a woman", [0], AlignmentReason.CONTESTED),
    ("a man and people", "person, person", "people", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("a vehicle", "truck, car", "a vehicle", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("a dog", "dog*, dog*", "a dog", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("a dog", "dog, dog~", "a dog", [0, 1], AlignmentReason.TOO_MANY_FIT),
    ("a dog", "dog~, dog~", "a dog", [0, 1], AlignmentReason.TOO_MANY_FIT),
]
WITHOUT_MASK = [
    ("a dog", "dog~", [0], []),
    ("two dogs", "dog, dog~", [0, 1], [0]),
    ("dogs", "dog, cat, dog~", [0, 2], [0]),
]
IN_DOUBT = [
    ("a dog", "dog, ?", [0, 1]),
    ("two dogs", "dog, dog, ?", [0, 1, 2]),
    ("dogs", "dog, dog, ?", [0, 1, 2]),
    ("dogs", "dog, ?*", [0, 1]),
]
ABSENT = [
    ("a zebra", "cat", "a zebra", AlignmentReason.NO_INSTANCE),
    ("a castle", "cat", "a castle", AlignmentReason.NO_SUCH_CATEGORY),
    ("no cats", "cat", "no cats", AlignmentReason.NEGATED),
    ("a street without cars", "car", "cars", AlignmentReason.NEGATED),
    ("a chair", "couch, couch", "a chair", AlignmentReason.NO_INSTANCE),
    ("a chair and a couch", "couch", "a chair", AlignmentReason.NO_INSTANCE),
    ("a carpet", "car", "a carpet", AlignmentReason.NO_SUCH_CATEGORY),
    ("a plastic bag", "handbag", "a plastic bag", AlignmentReason.NO_SUCH_CATEGORY),
    ("a bus stop", "bus, stop sign", "a bus stop", AlignmentReason.NO_SUCH_CATEGORY),
    ("a zebra", "cat, ?", "a zebra", AlignmentReason.UNKNOWN_CATEGORY),
    ("a zebra", "?*", "a zebra", AlignmentReason.UNKNOWN_CATEGORY),
    ("a windmill", "cat, ?", "a windmill", AlignmentReason.UNKNOWN_CATEGORY),
]


@pytest.fixture(scope="module")
def aligner() -> KnownObjectAligner:
    return KnownObjectAligner()


def test_tables_contain_every_reason() -> None:
    spoken_of = {row[-1] for table in (LESS_SURE, AMBIGUOUS, ABSENT) for row in table}
    of_detections = {AlignmentReason.NOT_FOUND, AlignmentReason.OUTSCORED}
    elsewhere = {
        AlignmentReason.OBJECTS_UNKNOWN,
        AlignmentReason.INSTANCE_WITHOUT_MASK,
        AlignmentReason.PARTLY_ANNOTATED,
        AlignmentReason.CHECKED_ABSENT,
        AlignmentReason.NOT_LINKED_BY_SOURCE,
        AlignmentReason.TOO_MANY_PHRASES,
    }
    assert spoken_of == set(AlignmentReason) - elsewhere - of_detections
    assert all(reason.explanation for reason in AlignmentReason)


@pytest.mark.parametrize(("text", "categories", "expected"), MATCHED)
def test_matched(
    aligner: KnownObjectAligner, text: str, categories: str, expected: list[tuple[str, list[int]]]
) -> None:
    phrases = aligner.align(record(text, categories)).phrases
    matched = [(item.text, list(item.object_ids)) for item in phrases if item.status is PhraseStatus.MATCHED]
    assert matched == expected
    assert {(item.score, item.reason) for item in phrases if item.status is PhraseStatus.MATCHED} == {(1.0, None)}


@pytest.mark.parametrize(("text", "categories", "ids", "reason"), LESS_SURE)
def test_matched_with_less_certainty(
    aligner: KnownObjectAligner, text: str, categories: str, ids: list[int], reason: AlignmentReason
) -> None:
    (phrase,) = aligner.align(record(text, categories)).phrases
    assert (phrase.status, list(phrase.object_ids), phrase.reason) == (PhraseStatus.MATCHED, ids, reason)
    assert phrase.score is not None
    assert phrase.score < 1.0


@pytest.mark.parametrize(("text", "categories", "words", "candidates", "reason"), AMBIGUOUS)
def test_ambiguous(
    aligner: KnownObjectAligner,
    text: str,
    categories: str,
    words: str,
    candidates: list[int],
    reason: AlignmentReason,
) -> None:
    out = aligner.align(record(text, categories))
    phrase = next(item for item in out.phrases if item.text == words)
    assert (phrase.status, phrase.object_ids, phrase.reason) == (PhraseStatus.AMBIGUOUS, (), reason)
    assert sorted(candidate.object_id for candidate in phrase.candidates) == candidates
    scores = [candidate.score for candidate in phrase.candidates]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("text", "categories", "ids", "keys"), WITHOUT_MASK)
def test_object_without_mask_is_named_but_not_key(
    aligner: KnownObjectAligner, text: str, categories: str, ids: list[int], keys: list[int]
) -> None:
    out = aligner.align(record(text, categories))
    (phrase,) = out.phrases
    assert (phrase.status, list(phrase.object_ids)) == (PhraseStatus.MATCHED, ids)
    assert phrase.reason == AlignmentReason.INSTANCE_WITHOUT_MASK
    assert [item.id for item in out.key_objects] == keys
    assert [item.salience is None for item in out.objects] == [item.mask is None for item in out.objects]


@pytest.mark.parametrize(("text", "categories", "candidates"), IN_DOUBT)
def test_unknown_category_blocks_certainty(
    aligner: KnownObjectAligner, text: str, categories: str, candidates: list[int]
) -> None:
    (phrase,) = aligner.align(record(text, categories)).phrases
    assert (phrase.status, phrase.reason) == (PhraseStatus.AMBIGUOUS, AlignmentReason.UNKNOWN_CATEGORY)
    assert [item.object_id for item in phrase.candidates] == candidates
    assert {phrase.score, *(item.score for item in phrase.candidates)} == {None}


def test_partly_annotated_category_blocks_certainty(aligner: KnownObjectAligner) -> None:
    scene = replace(record("a dog, a cat and a zebra", "dog, cat"), partial_categories=("dog", "zebra"))
    dog, cat, zebra = aligner.align(scene).phrases
    assert (dog.status, dog.reason) == (PhraseStatus.AMBIGUOUS, AlignmentReason.PARTLY_ANNOTATED)
    assert (cat.status, cat.reason) == (PhraseStatus.MATCHED, None)
    assert (zebra.status, zebra.reason) == (PhraseStatus.ABSENT, AlignmentReason.PARTLY_ANNOTATED)


def test_checked_negatives_are_absent_for_certain(aligner: KnownObjectAligner) -> None:
    scene = replace(
        record("a banana, a theremin, an animal and a cat", "cat"), absent_categories=("banana", "theremin")
    )
    reasons = {phrase.text: phrase.reason for phrase in aligner.align(scene).phrases}
    assert reasons["a banana"] == reasons["a theremin"] == AlignmentReason.CHECKED_ABSENT
    assert reasons["a cat"] is None


def test_hypernym_of_a_negative_is_not_certainly_absent(aligner: KnownObjectAligner) -> None:
    (phrase,) = aligner.align(replace(record("an animal", "chair"), absent_categories=("cat",))).phrases
    assert phrase.reason == AlignmentReason.NO_INSTANCE


def test_searched_image_without_objects() -> None:
    aligner, scene = KnownObjectAligner(objects_known=False), record("a cat", "")
    unknown, searched = (aligner.align(scene, is_searched=flag).phrases[0].reason for flag in (False, True))
    assert (unknown, searched) == (AlignmentReason.OBJECTS_UNKNOWN, AlignmentReason.NO_INSTANCE)


@pytest.mark.parametrize(("text", "categories", "words", "reason"), ABSENT)
def test_absent(aligner: KnownObjectAligner, text: str, categories: str, words: str, reason: AlignmentReason) -> None:
    phrase = next(item for item in aligner.align(record(text, categories)).phrases if item.text == words)
    assert (phrase.status, phrase.object_ids, phrase.candidates) == (PhraseStatus.ABSENT, (), ())
    assert phrase.reason == reason


def test_phrase_that_is_not_an_object_stays(aligner: KnownObjectAligner) -> None:
    top, cat = aligner.align(record("the top of a cat", "cat")).phrases
    assert (top.status, top.reason) == (PhraseStatus.NOT_AN_OBJECT, None)
    assert cat.status is PhraseStatus.MATCHED


def test_large_central_candidates_score_higher(aligner: KnownObjectAligner) -> None:
    scene = record("a man", "person, person, person")
    corner, centre, large = mask(0, 0, 4, 4), mask(18, 18, 4, 4), mask(8, 0, 20, 40)
    objects = tuple(
        replace(item, mask=shape) for item, shape in zip(scene.objects, (corner, centre, large), strict=True)
    )
    (phrase,) = aligner.align(replace(scene, objects=objects)).phrases
    assert [candidate.object_id for candidate in phrase.candidates] == [2, 1, 0]


def test_candidate_of_an_earlier_mention_scores_lower(aligner: KnownObjectAligner) -> None:
    scene = record("a man beside a woman", "person, person")
    large, small = replace(scene.objects[0], mask=mask(10, 0, 20, 40)), scene.objects[1]
    man, woman = aligner.align(replace(scene, objects=(large, small))).phrases
    assert man.candidates[0].object_id == 0
    assert woman.candidates[0].score < man.candidates[0].score


def test_objects_get_status_salience_and_key_flag(aligner: KnownObjectAligner) -> None:
    out = aligner.align(record("a dog and a man", "dog, person, person, chair"))
    mentioned, candidate, unmentioned = ObjectStatus.MENTIONED, ObjectStatus.CANDIDATE, ObjectStatus.UNMENTIONED
    assert [item.status for item in out.objects] == [mentioned, candidate, candidate, unmentioned]
    assert [item.is_key for item in out.objects] == [True, False, False, False]
    assert all(item.salience is not None for item in out.objects)


def test_category_missing_in_the_lexicon_matches_by_name(aligner: KnownObjectAligner) -> None:
    lion, rock = aligner.align(record("two lions on a rock", "lion, Lion, rock")).phrases
    assert lion.object_ids == (0, 1)
    assert rock.object_ids == (2,)


@pytest.mark.parametrize("description", [None, "😀", "a " * 50])
def test_texts_without_phrases(aligner: KnownObjectAligner, description: str | None) -> None:
    out = aligner.align(record(description, "cat"))
    assert out.phrases == ()
    assert [item.status for item in out.objects] == [ObjectStatus.UNMENTIONED]
    assert out.objects[0].salience is not None


def test_record_without_objects(aligner: KnownObjectAligner) -> None:
    (phrase,) = aligner.align(record("a cat", "")).phrases
    assert phrase.reason == AlignmentReason.NO_INSTANCE


def test_unknown_objects_are_not_absent() -> None:
    cat, zebra = KnownObjectAligner(objects_known=False).align(record("a cat and a zebra", "")).phrases
    assert {(item.status, item.reason) for item in (cat, zebra)} == {
        (PhraseStatus.ABSENT, AlignmentReason.OBJECTS_UNKNOWN.value)
    }


@pytest.mark.parametrize("key_max", [0, -1])
def test_key_max_must_be_positive(key_max: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        KnownObjectAligner(key_max=key_max)


_WORDS = "a the two three no cat cats dog people man woman other another of group and pair animals crowd each pizza"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(_WORDS.split(" ")), min_size=1, max_size=20),
    st.lists(st.sampled_from(["cat", "dog", "person", "person*", "pizza"]), max_size=6),
)
@pytest.mark.slow
def test_every_phrase_and_object_is_kept(words: list[str], categories: list[str]) -> None:
    scene = record(" ".join(words), ", ".join(categories))
    out = KnownObjectAligner(key_max=2).align(scene)
    assert isinstance(out, Record)
    assert [item.id for item in out.objects] == [item.id for item in scene.objects]
    assert (out.description, out.image, out.source) == (scene.description, scene.image, scene.source)
    named = {object_id for phrase in out.phrases for object_id in phrase.object_ids}
    assert named == {item.id for item in out.objects if item.status is ObjectStatus.MENTIONED}
    assert sum(item.is_key for item in out.objects) == min(2, len(named))
    assert out == KnownObjectAligner(key_max=2).align(scene)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(_WORDS.split(" ")), min_size=1, max_size=20),
    st.lists(st.tuples(st.sampled_from(["cat", "dog", "person", "person*", "pizza"]), st.booleans()), max_size=6),
)
@pytest.mark.slow
def test_lost_masks_change_no_link(words: list[str], things: list[tuple[str, bool]]) -> None:
    aligner, text = KnownObjectAligner(), " ".join(words)
    whole = aligner.align(record(text, ", ".join(name for name, _ in things)))
    poorer = aligner.align(record(text, ", ".join(name + "~" * lost for name, lost in things)))
    for before, after in zip(whole.phrases, poorer.phrases, strict=True):
        assert (after.status, after.object_ids) == (before.status, before.object_ids)
        assert {item.object_id for item in after.candidates} == {item.object_id for item in before.candidates}
    assert {item.id for item in poorer.key_objects} <= {item.id for item in whole.key_objects}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(_WORDS.split(" ")), min_size=1, max_size=20),
    st.lists(st.tuples(st.sampled_from(["cat", "dog", "person", "pizza"]), st.booleans()), max_size=6),
)
@pytest.mark.slow
def test_lost_categories_add_no_link(words: list[str], things: list[tuple[str, bool]]) -> None:
    aligner, text = KnownObjectAligner(), " ".join(words)
    whole = aligner.align(record(text, ", ".join(name for name, _ in things)))
    poorer = aligner.align(record(text, ", ".join("?" if lost else name for name, lost in things)))
    for before, after in zip(whole.phrases, poorer.phrases, strict=True):
        assert set(after.object_ids) <= set(before.object_ids)
