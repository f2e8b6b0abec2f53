"""The phrase finder: a table of captions in phrases.txt, exact spans on any text, numbers, what is not an object."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.phrases.tokens import tokenize
from datasetkit.annotation.phrases.words import english_words
from datasetkit.core.protocols import NounPhrase

TABLE = Path(__file__).with_name("phrases.txt")
_MARKED = re.compile(r"\[([^\[\]*]*)\*([^\[\]*]+)\*(?:\|(\d*)(\+?)(-?))?\]")


def marked_captions() -> list[str]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def mark(text: str, phrases: list[NounPhrase]) -> str:
    """Write a text with its phrases marked as in phrases.txt."""
    pieces, place = [], 0
    for phrase in phrases:
        number = "" if phrase.number is None else str(phrase.number)
        notes = number + "+" * phrase.plural + "-" * (not phrase.is_object)
        words = text[phrase.start : phrase.head_start]
        pieces.append(f"{text[place : phrase.start]}[{words}*{phrase.head}*{'|' * bool(notes)}{notes}]")
        place = phrase.end
    return "".join(pieces) + text[place:]


@pytest.fixture(scope="module")
def finder() -> NounPhraseFinder:
    return NounPhraseFinder()


def test_the_table_is_large_enough() -> None:
    assert len(set(marked_captions())) >= 150


@pytest.mark.parametrize("marked", marked_captions())
def test_table(finder: NounPhraseFinder, marked: str) -> None:
    text = _MARKED.sub(r"\1\2", marked)
    assert mark(text, list(finder.find(text))) == marked


def assert_exact(text: str, phrases: list[NounPhrase]) -> None:
    place = 0
    for phrase in phrases:
        assert place <= phrase.start <= phrase.head_start < phrase.end <= len(text)
        assert text[phrase.head_start : phrase.end] == phrase.head
        assert phrase.head
        assert phrase.number is None or phrase.number >= 0
        place = phrase.end


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120))
@pytest.mark.slow
def test_any_text_yields_ordered_exact_spans(text: str) -> None:
    assert_exact(text, list(NounPhraseFinder().find(text)))


_CAPTION_WORDS = (
    "a the two cat cats of group and red skis park 's his , - with people parking meter standing parked next to no "
    "slice pizza é 😀 שלום t.v. 1,000 ½ ² one both half orange is that her another "
    "999999999999999999999999999999 \u200f"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*_CAPTION_WORDS.split(" "), "\n"]), max_size=25))
def test_shuffled_caption_words_yield_exact_spans(words: list[str]) -> None:
    text = " ".join(words)
    assert_exact(text, list(NounPhraseFinder().find(text)))


@given(st.text(max_size=200))
def test_tokens_cover_all_but_white_space(text: str) -> None:
    place = 0
    for token in tokenize(text):
        assert text[token.start : token.end] == token.text
        assert not text[place : token.start].strip()
        place = token.end
    assert not text[place:].strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog \U0001f436\U0001f3fd and a cat", ["a dog", "a cat"]),
        ("كلب a dog قطة and a cat", ["a dog", "a cat"]),
        ("a cafe\u0301 table and a nai\u0308ve dog", ["a cafe\u0301 table", "a nai\u0308ve dog"]),
        ("\u200fa dog\u200f near\u00a0a cat", ["a dog", "a cat"]),
        ("a man\u2019s dog", ["a man", "dog"]),
        ("", []),
        ("   \n\t", []),
        ("...!!! 😀", []),
    ],
)
def test_unicode_spans(finder: NounPhraseFinder, text: str, expected: list[str]) -> None:
    assert [text[phrase.start : phrase.end] for phrase in finder.find(text)] == expected


@pytest.mark.parametrize(
    "unit", ["a cat and two dogs sit on a bench. ", "a cat ", "x", "big red ", "cats' ", "of the ", "a.b."]
)
def test_long_texts(finder: NounPhraseFinder, unit: str) -> None:
    text = (unit * 5000)[:5000]
    assert_exact(text, list(finder.find(text)))


@pytest.mark.parametrize(
    ("text", "definite", "other"),
    [
        ("a cat", False, False),
        ("the cat", True, False),
        ("his two cats", False, False),
        ("another cat", False, True),
        ("the other cat", True, True),
        ("two other cats", False, True),
        ("cats", False, False),
        ("this cat", True, False),
    ],
)
def test_definite_and_other(finder: NounPhraseFinder, text: str, definite: bool, other: bool) -> None:
    (phrase,) = finder.find(text)
    assert (phrase.definite, phrase.other) == (definite, other)


@pytest.mark.parametrize("name", ["not_objects", "scenes"])
def test_words_that_are_not_objects_name_no_category(finder: NounPhraseFinder, name: str) -> None:
    words = sorted(getattr(english_words(), name))
    assert [word for word in words if finder._lexicon.categories(word)] == []


def test_closed_classes_do_not_overlap() -> None:
    words = english_words()
    classes = (words.articles, words.possessives, words.conjunctions, words.prepositions, words.pronouns)
    classes += (words.auxiliaries, words.adverbs, words.quantifiers)
    members = [word for members in classes for word in members]
    assert len(members) == len(set(members))


_THREADS = """
import threading
from datasetkit.annotation.phrases.tagging import base_tags
from datasetkit.annotation.phrases.tokens import tokenize
tokens = list(tokenize("zealous youthful yellow writes wrote yesterday"))
gate, found = threading.Barrier(8), []
def tag():
    gate.wait()
    found.append(tuple(base_tags(tokens)))
threads = [threading.Thread(target=tag) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), *set(found))
"""


def test_threads_that_begin_at_once_tag_alike() -> None:
    """The tagger's words are at the end of its lexicon, which the first text loads."""
    shown = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, check=True).stdout
    assert shown == "8 ('JJ', 'JJ', 'JJ', 'VBZ', 'VBD', 'NN')\n"
