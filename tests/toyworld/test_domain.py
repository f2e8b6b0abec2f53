"""Domains: the shifted one renames everything, in words that the base domain's training text contains."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from datasetkit.toyworld.descriptions import absent_phrases, describe, list_objects
from datasetkit.toyworld.domain import BASE, SHIFTED, Domain
from datasetkit.toyworld.questions import QuestionType, ask
from datasetkit.toyworld.referring import Attributes, Relation
from datasetkit.toyworld.sampling import sample_scene
from datasetkit.toyworld.scenes import Colour, SceneConfig, Size, Split, combinations_for, seed_for, stream
from datasetkit.toyworld.shapes import Shape


def all_texts(domain: Domain, split: Split, scenes: int) -> Iterator[str]:
    """Yield everything that can be written or answered about a split's first scenes."""
    config = domain.scenes(SceneConfig(combinations=combinations_for(split)))
    for index in range(scenes):
        scene = sample_scene(seed_for(split, index), config)
        rng = stream(scene.seed, "words")
        yield describe(scene, domain, rng).text
        yield list_objects(scene, domain).text
        yield from (phrase.text for phrase in absent_phrases(scene, domain, rng, 3))
        for question in ask(scene, domain, rng, tuple(QuestionType)):
            yield question.question
            yield from question.options


def words(texts: Iterator[str]) -> Counter[str]:
    return Counter(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))


@pytest.mark.slow
def test_shifted_words_are_common_in_base_training_text() -> None:
    shifted = words(all_texts(SHIFTED, Split.TEST, 400))
    base = words(all_texts(BASE, Split.TRAIN, 400))
    assert {word: base[word] for word in shifted if base[word] < 5} == {}


def test_shifted_domain_renames_every_colour_and_shape() -> None:
    base, shifted = BASE.vocabulary, SHIFTED.vocabulary
    assert all(base.colours[colour] != shifted.colours[colour] for colour in Colour)
    assert all(base.shapes[shape] != shifted.shapes[shape] for shape in Shape)
    assert sorted(base.colours.values()) == sorted(shifted.colours.values())
    assert {noun.singular for noun in base.shapes.values()} == {noun.singular for noun in shifted.shapes.values()}


def test_the_styles_share_no_template() -> None:
    for style in ("opening", "adding", "relating", "continuing"):
        assert set(getattr(BASE.captions, style)).isdisjoint(getattr(SHIFTED.captions, style))
    for style in QuestionType:
        assert set(getattr(BASE.questions, style)).isdisjoint(getattr(SHIFTED.questions, style))


def test_vocabulary_fits_the_detector_tokenizer() -> None:
    # Ids 1 to 99 are words there, as some ids from 101 on are fixed in GroundingDINO's code.
    assert len(words(all_texts(BASE, Split.TRAIN, 400))) < 90


@pytest.mark.parametrize("domain", [BASE, SHIFTED], ids=lambda domain: domain.name)
def test_domains_name_everything(domain: Domain) -> None:
    vocabulary = domain.vocabulary
    assert set(vocabulary.colours) == set(Colour)
    assert set(vocabulary.shapes) == set(Shape)
    assert set(vocabulary.sizes) == set(Size)
    assert set(vocabulary.relations) == set(Relation)
    every_word = [*vocabulary.colours.values(), *vocabulary.sizes.values(), *vocabulary.numbers]
    every_word += [
        word for noun in (*vocabulary.shapes.values(), vocabulary.thing) for word in (noun.singular, noun.plural)
    ]
    assert len(set(every_word)) == len(every_word)


@pytest.mark.parametrize(
    ("domain", "attributes", "plural", "determiner", "phrase"),
    [
        (BASE, Attributes(Shape.STAR, Colour.RED, Size.LARGE), False, "a", "a large red star"),
        (BASE, Attributes(Shape.STAR, Colour.ORANGE), False, "a", "an orange star"),
        (BASE, Attributes(None, None, Size.SMALL), True, "the two", "the two small objects"),
        (BASE, Attributes(), False, "a", "an object"),
        (BASE, Attributes(Shape.CROSS), True, "", "crosses"),
        (SHIFTED, Attributes(Shape.STAR, Colour.RED, Size.LARGE), False, "one", "one yellow large cross"),
    ],
)
def test_noun_phrases(domain: Domain, attributes: Attributes, plural: bool, determiner: str, phrase: str) -> None:
    assert domain.noun_phrase(attributes, plural, determiner) == phrase
