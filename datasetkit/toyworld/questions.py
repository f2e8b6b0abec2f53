"""Closed questions about scenes, with their answers. Owns what is asked and how answers are balanced.

Yes and no are equally likely for existence and relation, whatever the scene; a count's answer is drawn first, uniformly
among those for which the scene has a question. Attributes are asked only about an object that the question identifies
unambiguously.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from random import Random
from typing import Any

from datasetkit.core.record import Question
from datasetkit.toyworld.domain import Domain
from datasetkit.toyworld.referring import OPPOSITES, Attributes, names_for, relations_between
from datasetkit.toyworld.scenes import Scene, Size

_OPTIONS = 4
_HARD_SHARE = 0.7


class QuestionType(StrEnum):
    """What a question asks about."""

    EXISTENCE = "existence"
    COLOUR = "colour"
    SHAPE = "shape"
    SIZE = "size"
    COUNT = "count"
    RELATION = "relation"


def ask(scene: Scene, domain: Domain, rng: Random, types: Sequence[QuestionType]) -> tuple[Question, ...]:
    """Return one question of each of the types, in their order, without types for which the scene has no question.

    A type may be given several times; no question is returned twice.
    """
    questions: list[Question] = []
    for question_type in types:
        question = _ASKERS[question_type](scene, domain, rng)
        if question is not None and all(question.question != other.question for other in questions):
            questions.append(question)
    return tuple(questions)


def _existence(scene: Scene, domain: Domain, rng: Random) -> Question | None:
    style = domain.questions
    name = _present_name(scene, rng) if rng.random() < 0.5 else _absent_name(scene, rng)
    if name is None:
        return None
    found = name.extension(scene)
    return _question(
        rng.choice(style.existence).format(x=domain.noun_phrase(name, plural=False, determiner="a")),
        style.yes if found else style.no,
        QuestionType.EXISTENCE,
        (style.yes, style.no),
        found,
    )


def _present_name(scene: Scene, rng: Random) -> Attributes:
    """Return colour, shape and perhaps size of an object."""
    item = rng.choice(scene.objects)
    return Attributes(item.shape, item.colour, rng.choice((item.size, None)))


def _absent_name(scene: Scene, rng: Random) -> Attributes | None:
    """Return colour, shape and perhaps size of something absent; mostly sharing an attribute with the scene."""
    colours = {item.colour for item in scene.objects}
    shapes = {item.shape for item in scene.objects}
    sizes = rng.choice(((None,), tuple(Size)))
    absent = [
        name
        for colour, shape in scene.config.combinations
        for name in (Attributes(shape, colour, size) for size in sizes)
        if not name.extension(scene)
    ]
    similar = [name for name in absent if name.colour in colours or name.shape in shapes]
    choices = similar if similar and rng.random() < _HARD_SHARE else absent
    return rng.choice(choices) if choices else None


def _attribute(scene: Scene, domain: Domain, rng: Random, *, asked: QuestionType) -> Question | None:
    """Ask about one attribute of an object that its other attributes identify unambiguously."""
    style, vocabulary = domain.questions, domain.vocabulary
    asking: dict[QuestionType, tuple[tuple[str, ...], Mapping[Any, str]]] = {
        QuestionType.COLOUR: (style.colour, vocabulary.colours),
        QuestionType.SHAPE: (style.shape, {shape: noun.singular for shape, noun in vocabulary.shapes.items()}),
        QuestionType.SIZE: (style.size, vocabulary.sizes),
    }
    templates, words = asking[asked]
    # Attributes have the same names as their questions.
    named = [
        (index, name)
        for index in range(len(scene.objects))
        for name in names_for(scene, (index,))
        if getattr(name, asked.value) is None
    ]
    if not named:
        return None
    index, name = rng.choice(named)
    answer = words[getattr(scene.objects[index], asked.value)]
    others = [word for word in words.values() if word != answer]
    options = [answer, *rng.sample(others, min(len(others), _OPTIONS - 1))]
    rng.shuffle(options)
    text = rng.choice(templates).format(x=domain.noun_phrase(name, plural=False, determiner="the"))
    return _question(text, answer, asked, tuple(options), (index,))


def _count(scene: Scene, domain: Domain, rng: Random) -> Question | None:
    by_count: dict[int, list[Attributes]] = {}
    for colour, shape in scene.config.combinations:
        for name in (Attributes(shape), Attributes(None, colour), Attributes(shape, colour)):
            by_count.setdefault(len(name.extension(scene)), []).append(name)
    count = rng.choice(sorted(by_count))
    name = rng.choice(by_count[count])
    words = domain.vocabulary.numbers
    text = rng.choice(domain.questions.count).format(x=domain.noun_phrase(name, plural=True, determiner=""))
    return _question(text, words[count], QuestionType.COUNT, words, name.extension(scene))


def _relation(scene: Scene, domain: Domain, rng: Random) -> Question | None:
    """Ask whether a relation holds; if it does not, its opposite does."""
    style = domain.questions
    indices = range(len(scene.objects))
    names = {index: names_for(scene, (index,)) for index in indices}
    true = [
        (first, second, relation)
        for first in indices
        for second in indices
        if first != second and names[first] and names[second]
        for relation in relations_between(scene, first, second)
        if relation in OPPOSITES
    ]
    if not true:
        return None
    first, second, relation = rng.choice(true)
    holds = rng.random() < 0.5
    wording = rng.choice(domain.vocabulary.relations[relation if holds else OPPOSITES[relation]])
    x, y = (domain.noun_phrase(rng.choice(names[index]), plural=False, determiner="the") for index in (first, second))
    text = rng.choice(style.relation).format(x=x, y=y, relation=wording)
    return _question(
        text, style.yes if holds else style.no, QuestionType.RELATION, (style.yes, style.no), (first, second)
    )


def _question(
    text: str, answer: str, question_type: QuestionType, options: tuple[str, ...], object_ids: tuple[int, ...]
) -> Question:
    return Question(text[0].upper() + text[1:], answer, question_type.value, options, object_ids)


_ASKERS: dict[QuestionType, Callable[[Scene, Domain, Random], Question | None]] = {
    QuestionType.EXISTENCE: _existence,
    QuestionType.COLOUR: partial(_attribute, asked=QuestionType.COLOUR),
    QuestionType.SHAPE: partial(_attribute, asked=QuestionType.SHAPE),
    QuestionType.SIZE: partial(_attribute, asked=QuestionType.SIZE),
    QuestionType.COUNT: _count,
    QuestionType.RELATION: _relation,
}
