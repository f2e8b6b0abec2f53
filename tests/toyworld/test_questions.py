"""Questions: every answer is derived again from the question's words and the scene."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasetkit.core.record import Question
from datasetkit.toyworld.domain import BASE, SHIFTED, Domain
from datasetkit.toyworld.questions import QuestionType, ask
from datasetkit.toyworld.sampling import sample_scene
from datasetkit.toyworld.scenes import HELD_OUT, Scene, SceneConfig, Split, combinations_for, seed_for, stream

TEMPLATES = {
    QuestionType.EXISTENCE: r"is there (.+?)(?: in the picture)?|can you see (.+)|does the picture have (.+)",
    QuestionType.COLOUR: r"what colour is (.+)|which colour does (.+) have|(.+) is what colour",
    QuestionType.SHAPE: r"what shape is (.+)|which shape does (.+) have|(.+) is what shape",
    QuestionType.SIZE: r"what size is (.+)|(?:is )?(.+?)(?: is)? small or large",
    QuestionType.COUNT: r"how many (.+) are (?:there|in the picture)|there are how many (.+)",
}


def asked(seed: int, domain: Domain) -> tuple[Scene, tuple[Question, ...]]:
    scene = sample_scene(seed, domain.scenes(SceneConfig()))
    return scene, ask(scene, domain, stream(seed, "test"), tuple(QuestionType))


def named(reader: Any, question: Question, scene: Scene, domain: Domain) -> tuple[int, ...]:
    """Return the objects that the question's noun phrase fits."""
    match = re.fullmatch(TEMPLATES[QuestionType(question.type)], question.question.lower().rstrip("?"))
    assert match, question.question
    (phrase,) = [group for group in match.groups() if group]
    return reader.named_objects(phrase, scene, domain)[0]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**42), st.sampled_from([BASE, SHIFTED]))
def test_answers_are_right(reader: Any, seed: int, domain: Domain) -> None:
    scene, questions = asked(seed, domain)
    words = domain.vocabulary
    for question in questions:
        assert question.answer in question.options
        assert len(set(question.options)) == len(question.options) >= 2
        assert question.question[0].isupper()
        if question.type == QuestionType.RELATION:
            check_relation(reader, question, scene, domain)
            continue
        found = named(reader, question, scene, domain)
        assert question.object_ids == found
        if question.type == QuestionType.EXISTENCE:
            assert question.answer == ("yes" if found else "no")
        elif question.type == QuestionType.COUNT:
            assert question.answer == words.numbers[len(found)]
        else:
            (index,) = found
            item = scene.objects[index]
            true = {"colour": words.colours[item.colour], "shape": words.shapes[item.shape].singular}
            assert question.answer == {**true, "size": words.sizes[item.size]}[question.type]


def check_relation(reader: Any, question: Question, scene: Scene, domain: Domain) -> None:
    text = question.question.lower().rstrip("?").removeprefix("is ")
    wordings = {wording: relation for relation, choices in domain.vocabulary.relations.items() for wording in choices}
    longest_first = sorted(wordings, key=len, reverse=True)
    first, wording, second = re.fullmatch(rf"(the .+?) (?:is )?({'|'.join(longest_first)}) (the .+)", text).groups()
    (one,), (two,) = (reader.named_objects(phrase, scene, domain)[0] for phrase in (first, second))
    assert question.object_ids == (one, two)
    assert question.answer == ("yes" if reader.holds(wordings[wording], one, two, scene) else "no")


@pytest.mark.parametrize("domain", [BASE, SHIFTED], ids=lambda domain: domain.name)
@pytest.mark.slow
def test_answers_are_balanced(domain: Domain) -> None:
    answers: dict[str, Counter] = {kind.value: Counter() for kind in QuestionType}
    places: Counter = Counter()
    for seed in range(600):
        for question in asked(seed, domain)[1]:
            answers[question.type][question.answer] += 1
            if len(question.options) == 4:
                places[question.options.index(question.answer)] += 1
    for kind in ("existence", "relation", "size"):
        (_, most), (_, least) = answers[kind].most_common()
        assert least / (most + least) > 0.43, kind
    assert len(answers["colour"]) == 8
    assert len(answers["shape"]) == 6
    assert min(answers["shape"].values()) > 30
    count = answers["count"]
    assert count["zero"] < 0.45 * count.total()
    assert count["two"] > 0.2 * count.total()
    assert min(places.values()) > 0.2 * places.total()
    assert all(counter.total() > 400 for counter in answers.values())


def test_type_may_repeat_but_no_question_does() -> None:
    scene = sample_scene(5, SceneConfig())
    questions = ask(scene, BASE, stream(5, "many"), [QuestionType.EXISTENCE] * 40)
    assert len(questions) > 20
    assert len({question.question for question in questions}) == len(questions)


def test_train_questions_name_no_held_out_combination() -> None:
    config = SceneConfig(combinations=combinations_for(Split.TRAIN))
    pairs = [(BASE.vocabulary.colours[colour], BASE.vocabulary.shapes[shape]) for colour, shape in HELD_OUT]
    for index in range(100):
        scene = sample_scene(seed_for(Split.TRAIN, index), config)
        for question in ask(scene, BASE, stream(index, "q"), [*QuestionType] * 3):
            for colour, noun in pairs:
                assert not re.search(rf"\b{colour} ({noun.singular}|{noun.plural})\b", question.question)
