"""Descriptions are true: an independent reader checks every phrase, number and relation against the scene."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasetkit.toyworld.descriptions import Description, absent_phrases, describe, list_objects
from datasetkit.toyworld.domain import BASE, SHIFTED, Domain
from datasetkit.toyworld.sampling import sample_scene
from datasetkit.toyworld.scenes import HELD_OUT, Scene, SceneConfig, Split, combinations_for, seed_for, stream

pytestmark = pytest.mark.slow

DOMAINS = st.sampled_from([BASE, SHIFTED])
SEEDS = st.integers(0, 2**42)
PRONOUNS = {"it": False, "they": True}


def scene_and_text(seed: int, domain: Domain) -> tuple[Scene, Description]:
    scene = sample_scene(seed, domain.scenes(SceneConfig()))
    return scene, describe(scene, domain, stream(seed, "test"))


def sentences(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^.]+\.", text)]


@settings(max_examples=300, deadline=None)
@given(SEEDS, DOMAINS)
def test_phrases_name_exactly_the_fitting_objects(reader: Any, seed: int, domain: Domain) -> None:
    scene, description = scene_and_text(seed, domain)
    assert description.phrases
    for phrase in description.phrases:
        assert description.text[phrase.start : phrase.end] == phrase.text
        if phrase.is_pronoun:
            assert PRONOUNS[phrase.text.lower()] == (len(phrase.object_ids) > 1)
            continue
        assert phrase.text.lower() not in PRONOUNS
        found, claimed, plural = reader.named_objects(phrase.text, scene, domain)
        assert found == phrase.object_ids
        assert claimed in (None, len(found))
        assert plural == (len(found) > 1)
    for before, after in pairwise(description.phrases):
        assert before.end < after.start


@settings(max_examples=300, deadline=None)
@given(SEEDS, DOMAINS)
def test_relations_hold_and_pronouns_name_the_subject(reader: Any, seed: int, domain: Domain) -> None:
    scene, description = scene_and_text(seed, domain)
    subject: tuple[int, ...] = ()
    for start, end in sentences(description.text):
        phrases = [phrase for phrase in description.phrases if start <= phrase.start < end]
        if phrases[0].is_pronoun:
            assert phrases[0].object_ids == subject
        assert not any(phrase.is_pronoun for phrase in phrases[1:])
        between = [description.text[a.end : b.start] for a, b in pairwise(phrases)]
        relations = [reader.relation_named(words, domain) for words in between]
        if any(relations):
            assert len(phrases) == 2
            for first in phrases[0].object_ids:
                for second in phrases[1].object_ids:
                    assert reader.holds(relations[0], first, second, scene), description.text
        else:
            assert all(words in {", ", " and "} for words in between), description.text
        listed_one = len(phrases) == 1
        subject = phrases[0].object_ids if any(relations) or listed_one else ()


@settings(max_examples=150, deadline=None)
@given(SEEDS, DOMAINS)
def test_texts_are_clean_and_verbs_agree(seed: int, domain: Domain) -> None:
    _, description = scene_and_text(seed, domain)
    text = description.text
    assert re.fullmatch(r"[A-Za-z ,.]+\.", text)
    assert not re.search(r"  | [.,]|\.\S|,\S", text)
    for start, end in sentences(text):
        sentence = text[start:end].strip()
        assert sentence[0].isupper()
        assert sentence[1:] == sentence[1:].lower()
        verb = re.search(r"\b(is|are)\b", sentence)
        if verb:
            first = next(phrase for phrase in description.phrases if start <= phrase.start < end)
            assert (verb[1] == "are") == (len(first.object_ids) > 1)


@settings(max_examples=150, deadline=None)
@given(SEEDS, DOMAINS)
def test_only_later_mentions_are_definite(seed: int, domain: Domain) -> None:
    _, description = scene_and_text(seed, domain)
    seen: set[tuple[int, ...]] = set()
    for phrase in description.phrases:
        assert phrase.is_pronoun <= (phrase.object_ids in seen)
        if not phrase.is_pronoun:
            assert phrase.text.lower().startswith("the ") == (phrase.object_ids in seen)
        seen.add(phrase.object_ids)


def test_all_kinds_of_text_occur() -> None:
    texts = [scene_and_text(seed, BASE) for seed in range(600)]
    kinds = Counter()
    for scene, description in texts:
        kinds["partial"] += len(description.mentioned) < len(scene.objects)
        kinds["pronoun"] += any(phrase.is_pronoun for phrase in description.phrases)
        kinds["repeated"] += any(phrase.text.lower().startswith("the ") for phrase in description.phrases)
        kinds["plural"] += any(len(phrase.object_ids) > 1 for phrase in description.phrases)
        kinds["coordinated"] += " and " in description.text
        kinds["in front of"] += "in front of" in description.text
        kinds["next to"] += bool(re.search("next to|near|beside", description.text))
        kinds["an"] += bool(re.search(r"\b[Aa]n orange", description.text))
    assert {kind: count for kind, count in kinds.items() if count < 20} == {}
    assert 0.1 < kinds["partial"] / len(texts) < 0.5
    assert len({description.text for _, description in texts}) > 580
    words = Counter(word for _, description in texts for word in re.findall(r"\w+", description.text.lower()))
    wordings = [wording for choices in BASE.vocabulary.relations.values() for wording in choices]
    together = " ".join(description.text for _, description in texts)
    assert [wording for wording in wordings if f" {wording} " not in together] == []
    assert all(words[colour] > 30 for colour in BASE.vocabulary.colours.values())
    assert all(words[noun.singular] > 30 and words[noun.plural] > 5 for noun in BASE.vocabulary.shapes.values())


@settings(max_examples=100, deadline=None)
@given(SEEDS, DOMAINS)
def test_lists_name_every_object_in_full(reader: Any, seed: int, domain: Domain) -> None:
    scene = sample_scene(seed, domain.scenes(SceneConfig()))
    description = list_objects(scene, domain)
    assert description.mentioned == set(range(len(scene.objects)))
    leftmost = []
    for phrase in description.phrases:
        found, claimed, _ = reader.named_objects(phrase.text, scene, domain)
        assert found == phrase.object_ids
        assert claimed == len(found)
        assert len(phrase.text.split()) == 4
        leftmost.append(min(scene.objects[index].x for index in found))
    assert leftmost == sorted(leftmost)


@settings(max_examples=150, deadline=None)
@given(SEEDS, DOMAINS, st.integers(0, 8))
def test_absent_phrases_fit_nothing(reader: Any, seed: int, domain: Domain, count: int) -> None:
    scene = sample_scene(seed, domain.scenes(SceneConfig()))
    absent = absent_phrases(scene, domain, stream(seed, "absent"), count)
    assert len({phrase.text for phrase in absent}) == count
    assert sum(phrase.is_hard for phrase in absent) >= count // 2
    colours = {domain.vocabulary.colours[item.colour] for item in scene.objects}
    nouns = {domain.vocabulary.shapes[item.shape].singular for item in scene.objects}
    for phrase in absent:
        found, claimed, _ = reader.named_objects(phrase.text, scene, domain)
        assert found == ()
        assert claimed == 1
        words = set(phrase.text.split())
        assert phrase.is_hard == bool(words & colours or words & nouns)


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION])
def test_absent_phrases_respect_held_out_combinations(split: Split) -> None:
    config = SceneConfig(combinations=combinations_for(split))
    held_out = {(BASE.vocabulary.colours[colour], BASE.vocabulary.shapes[shape].singular) for colour, shape in HELD_OUT}
    for index in range(20):
        scene = sample_scene(seed_for(split, index), config)
        for phrase in absent_phrases(scene, BASE, stream(index, "absent"), 100):
            *_, colour, noun = phrase.text.split()
            assert (colour, noun) not in held_out


def test_equal_streams_yield_equal_texts() -> None:
    scene = sample_scene(11, SceneConfig())
    assert describe(scene, BASE, stream(11, "x")) == describe(scene, BASE, stream(11, "x"))
    assert len({describe(scene, BASE, stream(11, str(variant))).text for variant in range(20)}) > 10
