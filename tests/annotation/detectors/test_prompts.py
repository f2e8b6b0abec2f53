from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.annotation.detectors.prompts import Part, close_prompt, split_query
from datasetkit.core.detections import Query
from datasetkit.core.ledger import NoticeKind

SPLIT, CUT = NoticeKind.PROMPT_SPLIT, NoticeKind.PHRASE_CUT


def words(text: str) -> list[tuple[int, int]]:
    """Return a token for every word and sign."""
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def marked(part: Part) -> str:
    """Return a part's text with its phrases in brackets, each with its index in the whole query."""
    text = part.query.text
    for index, (start, end) in reversed(list(zip(part.phrases, part.query.spans, strict=True))):
        text = f"{text[:start]}[{text[start:end]}]{index}{text[end:]}"
    return text


def query(text: str) -> Query:
    """Make the query whose phrases are in brackets."""
    bare, spans = "", []
    for piece in re.split(r"(\[[^]]*\])", text):
        inside = piece.strip("[]")
        if piece.startswith("["):
            spans.append((len(bare), len(bare) + len(inside)))
        bare += inside
    return Query(bare, tuple(spans))


@pytest.mark.parametrize(
    ("text", "limit", "parts", "notices"),
    [
        ("no phrases", 1, [], ()),
        ("[a cat] . [two dogs] .", 6, ["[a cat]0 . [two dogs]1 ."], ()),
        ("[a cat] . [two dogs] .", 5, ["[a cat]0 . ", "[two dogs]1 ."], (SPLIT,)),
        ("[a] . [b] . [c] . [d] . [e] .", 5, ["[a]0 . [b]1 . ", "[c]2 . [d]3 . ", "[e]4 ."], (SPLIT,)),
        ("So [a cat] sees [two dogs]", 7, ["So [a cat]0 sees [two dogs]1 ."], ()),
        ("So [a cat] sees [two dogs]", 6, ["So [a cat]0 sees  .", "[two dogs]1 ."], (SPLIT,)),
        ("So it is that [a cat] sees [a dog]", 4, ["[a cat]0 .", "[a dog]1 ."], (SPLIT,)),
        ("So it is that [a cat] sees", 4, ["[a cat]0 ."], (SPLIT,)),
        ("[one two three four five]", 4, ["[one two three]0 ."], (CUT,)),
        ("[one two three four five] [six]", 4, ["[one two three]0 .", "[six]1 ."], (SPLIT, CUT)),
        ("[cat][, dog]", 3, ["[cat]0 .", "[, dog]1 ."], (SPLIT,)),
        ("[one]", 1, [], (CUT,)),
    ],
)
def test_query_is_split_only_if_too_long(
    text: str, limit: int, parts: list[str], notices: tuple[NoticeKind, ...]
) -> None:
    found = split_query(query(text), words, limit)
    assert [marked(part) for part in found.parts] == parts
    assert found.notices == notices


@pytest.mark.parametrize(
    ("text", "closed"),
    [("a cat", "a cat ."), ("a cat.", "a cat."), ("a cat . ", "a cat . "), ("a cat?", "a cat? ."), ("", " .")],
)
def test_prompt_ends_with_a_full_stop(text: str, closed: str) -> None:
    assert close_prompt(text) == closed


phrases = st.lists(st.text(min_size=1, max_size=12).filter(str.strip), max_size=100)


@given(phrases, st.integers(min_value=1, max_value=40))
def test_every_phrase_is_in_one_part_in_order(texts: list[str], limit: int) -> None:
    whole = Query.of_phrases(texts)
    found = split_query(whole, words, limit)
    asked = [index for part in found.parts for index in part.phrases]
    assert asked == sorted(set(asked))
    assert CUT in found.notices or asked == [*range(len(texts))]
    for part in found.parts:
        assert len(words(part.query.text)) <= limit
        for index, phrase in zip(part.phrases, part.query.phrases, strict=True):
            assert phrase == texts[index] or (CUT in found.notices and texts[index].startswith(phrase))
    if len(words(whole.text)) <= limit:
        assert not found.notices
