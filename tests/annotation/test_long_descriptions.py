"""Long descriptions take time in proportion to their length, and each of their phrases is accounted for."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from nltk import RegexpParser

from datasetkit.annotation.alignment import AlignmentReason, KnownObjectAligner
from datasetkit.annotation.alignment.mentions import MOST_MENTIONS
from datasetkit.annotation.lexicon import coco_lexicon
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.phrases.chunks import _BACKWARDS, _LETTERS
from datasetkit.core.record import PhraseStatus
from tests.export.folders import record

GRAMMAR = r"NP: {<DT>*(<RB>*<CD|JJ>(<COMMA>?<CC>?<RB>*<CD|JJ>)*)?<NN|NNS>+}"


def test_grammar_equals_that_of_nltk() -> None:
    parser, draw = RegexpParser(GRAMMAR), random.Random(0)
    for _ in range(400):
        tags = draw.choices([*_LETTERS, "STOP"], k=draw.randint(1, 14))
        tree = parser.parse(list(enumerate(tags)))
        expected = [(node[0][0], node[-1][0]) for node in tree if hasattr(node, "label")]
        letters = "".join(_LETTERS.get(tag, ".") for tag in reversed(tags))
        found = [(len(tags) - match.end(), len(tags) - 1 - match.start()) for match in _BACKWARDS.finditer(letters)]
        assert found[::-1] == expected, tags


def lines_run(text: str) -> int:
    """Count the lines that are executed to find a text's phrases."""
    count = Counter[str]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        count[event] += "annotation" in frame.f_code.co_filename
        return trace

    finder = NounPhraseFinder()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        finder.find(text)
    finally:
        sys.settrace(before)
    return count["line"]


@pytest.mark.parametrize(
    "words", ["very ", "red and ", "red ", "cat ", "blorfs ", "e\u0301 ", "parked ", "a group of ", "two of ", "t."]
)
def test_twice_the_words_take_twice_the_lines(words: str) -> None:
    NounPhraseFinder().find("a cat")
    short, long = (lines_run(f"a {words * count}car") for count in (150, 300))
    assert 1.5 < long / short < 2.3


class CountingDict(dict[str, Any]):
    """Counts look-ups."""

    looks = 0

    def __contains__(self, key: object) -> bool:
        self.looks += 1
        return super().__contains__(key)


def test_look_ups_are_limited_by_the_longest_entry() -> None:
    lexicon = coco_lexicon()
    entries = CountingDict(lexicon.entries)
    counting = replace(lexicon, entries=entries)
    assert counting.entry("red " * 1000 + "blorf") is None
    assert 0 < entries.looks <= lexicon.longest
    assert counting.entry("red " * 1000 + "fire hydrant") == "fire hydrant"


def test_phrases_after_the_first_thousand_get_a_reason() -> None:
    text = "a dog. " * (MOST_MENTIONS - 1) + "a cat. two cats. the top."
    aligned = KnownObjectAligner().align(replace(record(1), description=text, phrases=()))
    last_linked, beyond, no_object = aligned.phrases[-3:]
    assert len(aligned.phrases) == MOST_MENTIONS + 2
    assert last_linked.reason != AlignmentReason.TOO_MANY_PHRASES
    assert (beyond.text, beyond.status, beyond.reason) == ("two cats", PhraseStatus.ABSENT, "too_many_phrases")
    assert no_object.status is PhraseStatus.NOT_AN_OBJECT


@pytest.mark.slow
def test_pathological_texts_end() -> None:
    program = """
from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.annotation.phrases import NounPhraseFinder
for text in ("very " * 40_000 + "car", "e\\u0301" * 100_000):
    print(len(NounPhraseFinder().find(text)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, len(done.stdout.split())) == (0, 2), done.stderr
