"""Given links: spans in characters, UTF-16 units or bytes, words without spans, merged and dropped objects."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.given import GivenPhrase, GivenText, NoLink
from datasetkit.core.record import Linker, Phrase, PhraseStatus
from datasetkit.sources.given.phrases import Links, find_words, links_of

IDS = {"a": 0, "b": 1}
TEXT = st.text(st.sampled_from("ab é😀,. "), min_size=1, max_size=30)


def links(text: str, *phrases: GivenPhrase, linker: Linker | None = Linker.HUMAN) -> Links:
    return links_of(GivenText(text, phrases=phrases), IDS, linker)


def only(found: Links) -> Phrase:
    (phrase,) = found.phrases
    assert found.faults == ()
    return phrase


@pytest.mark.parametrize(
    ("start", "end"),
    [(2, 7), (3, 8), (5, 10)],
    ids=["characters", "UTF-16 units", "bytes"],
)
def test_spans_are_verified_in_three_units(start: int, end: int) -> None:
    phrase = only(links("😀 a cat", GivenPhrase(("a",), start, end, "a cat")))
    assert (phrase.start, phrase.end, phrase.text) == (2, 7, "a cat")
    assert (phrase.object_ids, phrase.provenance, phrase.score) == ((0,), Linker.HUMAN, None)


def test_words_are_found_where_the_span_is_wrong() -> None:
    phrase = only(links("a cart, a cat", GivenPhrase(("a",), 0, 4, "a cat")))
    assert (phrase.start, phrase.end) == (8, 13)


def test_words_that_are_not_there_lose_their_link_alone() -> None:
    given_phrases = GivenPhrase(("a",), text="a dog"), GivenPhrase(("b",), text="cat"), GivenPhrase(("b",), 4, 9)
    found = links("a cat", *given_phrases)
    assert [phrase.text for phrase in found.phrases] == ["cat"]
    assert found.faults == ("'a dog' is not in the description", "no text at [4, 9)")


def test_spans_follow_the_text_that_is_stripped() -> None:
    found = links("  a cat \n", GivenPhrase(("a",), 2, 7))
    assert found.description == "a cat"
    assert only(found).text == "a cat"


def test_one_phrase_twice_names_both_objects_once() -> None:
    phrase = only(links("two cats", *(GivenPhrase((key,), 0, 8) for key in ("b", "a", "b"))))
    assert phrase.object_ids == (1, 0)


def test_scores_are_kept_and_never_made_up() -> None:
    scored = GivenPhrase(("a",), 0, 5, score=0.4), GivenPhrase(("b",), 0, 5, score=0.3)
    assert only(links("a cat", *scored, linker=Linker.MODEL)).score == 0.3
    assert only(links("a cat", scored[0], GivenPhrase(("b",), 0, 5))).score is None


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (NoLink.NOT_VISUAL, PhraseStatus.NOT_AN_OBJECT),
        (NoLink.SCENE, PhraseStatus.NOT_AN_OBJECT),
        (NoLink.NO_BOX, PhraseStatus.ABSENT),
        (NoLink.CHECKED_ABSENT, PhraseStatus.ABSENT),
    ],
)
def test_words_without_object_keep_the_reason(reason: NoLink, status: PhraseStatus) -> None:
    phrase = only(links("a cat", GivenPhrase((), 0, 5, reason=reason)))
    assert (phrase.status, phrase.reason, phrase.object_ids) == (status, reason.value, ())


def test_link_to_a_dropped_object_says_so() -> None:
    assert only(links("a cat", GivenPhrase(("gone",), 0, 5))).reason == NoLink.OBJECT_DROPPED
    assert only(links("a cat", GivenPhrase(("gone", "b"), 0, 5))).object_ids == (1,)


@pytest.mark.parametrize("text", ["", " \n "])
def test_a_blank_text_is_no_description(text: str) -> None:
    assert links(text, GivenPhrase(("a",), 0, 1)) == Links(None, (), ())


@given(TEXT, st.lists(st.tuples(st.integers(-2, 40), st.integers(-2, 40), st.booleans()), max_size=6))
def test_any_span_is_a_phrase_or_a_fault(text: str, spans: list[tuple[int, int, bool]]) -> None:
    phrases = [GivenPhrase(("a",), start, end, text[start:end] if is_said else None) for start, end, is_said in spans]
    found = links(text, *phrases)
    for phrase in found.phrases:
        assert (found.description or "")[phrase.start : phrase.end] == phrase.text == phrase.text.strip() != ""
    assert all((one.start, one.end) < (other.start, other.end) for one, other in pairwise(found.phrases))
    if found.description is not None:
        assert len(found.phrases) + len(found.faults) <= len(spans)
        assert bool(found.phrases or found.faults) == bool(spans)


@given(TEXT, st.data())
def test_words_are_found_at_word_borders(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    words = text[start : data.draw(st.integers(start + 1, len(text)))].strip()
    span = find_words(text, words)
    if span is not None:
        assert text[span.start : span.end].casefold() == words.casefold()
        assert not (text[: span.start][-1:].isalnum() and words[0].isalnum())
        assert not (text[span.end :][:1].isalnum() and words[-1].isalnum())
