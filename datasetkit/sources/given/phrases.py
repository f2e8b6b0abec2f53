"""From given links to phrases of a record. Owns how spans are verified, found and merged.

A span that does not match the words that the data set repeats was counted in UTF-16 units or in bytes. Otherwise the
words are looked for in the text; where they are not found, the link is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from datasetkit.core.given import GivenPhrase, GivenText, NoLink
from datasetkit.core.record import Linker, Phrase, PhraseStatus

_NOT_OBJECTS = frozenset({NoLink.NOT_VISUAL, NoLink.SCENE})


class Span(NamedTuple):
    """Start and end of words in a description (code points, the end exclusive)."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Links:
    """A description, its phrases in order of their start, and what is wrong with links that were left out."""

    description: str | None
    phrases: tuple[Phrase, ...]
    faults: tuple[str, ...]


def links_of(given: GivenText | None, ids: Mapping[str, int], linker: Linker | None) -> Links:
    """Make the phrases of a description.

    Args:
        given: the text; None without one.
        ids: of the objects of the record, by key; those of dropped objects are missing.
        linker: who linked them.

    """
    description = given.text.strip() if given is not None else ""
    if given is None or not description:
        return Links(None, (), ())
    before = len(given.text) - len(given.text.lstrip())
    merged: dict[Span, list[GivenPhrase]] = {}
    faults = []
    for phrase in given.phrases:
        span = _span_of(phrase, given.text)
        inside = None if span is None else _trimmed(description, span.start - before, span.end - before)
        if inside is None:
            where = "" if phrase.start is None else f" at [{phrase.start}, {phrase.end})"
            faults.append(f"{phrase.text!r}{where} is not in the description" if phrase.text else f"no text{where}")
        else:
            merged.setdefault(inside, []).append(phrase)
    phrases = [_phrase(description, span, parts, ids, linker) for span, parts in sorted(merged.items())]
    return Links(description, tuple(phrases), tuple(faults))


def find_words(text: str, words: str) -> Span | None:
    """Find words in a text at word borders, case as it is, then ignoring case; None if they are not there."""
    words = words.strip()
    if not words:
        return None
    pattern = rf"(?<!\w){re.escape(words)}(?!\w)" if words[0].isalnum() else rf"{re.escape(words)}(?!\w)"
    found = re.search(pattern, text) or re.search(pattern, text, re.IGNORECASE)
    return None if found is None else Span(*found.span())


def _span_of(phrase: GivenPhrase, text: str) -> Span | None:
    start, end, words = phrase.start, phrase.end, phrase.text
    if start is None or end is None:
        return None if words is None else find_words(text, words)
    if words is None:
        return Span(start, end) if 0 <= start < end <= len(text) else None
    for span in (
        Span(start, end),
        _of_units(text, start, end, "utf-16-le", 2),
        _of_units(text, start, end, "utf-8", 1),
    ):
        if span is not None and 0 <= span.start < span.end and text[span.start : span.end].strip() == words.strip():
            return span
    return find_words(text, words)


def _of_units(text: str, start: int, end: int, encoding: str, width: int) -> Span | None:
    """Convert a span counted in the units of an encoding; None where it splits a character."""
    data = text.encode(encoding, "surrogatepass")
    try:
        return Span(len(data[: start * width].decode(encoding)), len(data[: end * width].decode(encoding)))
    except UnicodeDecodeError:
        return None


def _trimmed(text: str, start: int, end: int) -> Span | None:
    """Return a span inside a text, without blanks at its ends; None if nothing is left."""
    start, end = max(start, 0), min(end, len(text))
    words = text[start:end]
    if start >= end or not words.strip():
        return None
    first = start + len(words) - len(words.lstrip())
    return Span(first, first + len(words.strip()))


def _phrase(text: str, span: Span, parts: list[GivenPhrase], ids: Mapping[str, int], linker: Linker | None) -> Phrase:
    keys = dict.fromkeys(key for part in parts for key in part.objects)
    object_ids = tuple(ids[key] for key in keys if key in ids)
    scores = [part.score for part in parts if part.score is not None]
    words = text[span.start : span.end]
    if object_ids:
        score = min(scores) if len(scores) == len(parts) else None
        return Phrase(words, *span, object_ids, score=score, status=PhraseStatus.MATCHED, provenance=linker)
    reason = NoLink.OBJECT_DROPPED if keys else next((part.reason for part in parts if part.reason), None)
    status = PhraseStatus.NOT_AN_OBJECT if reason in _NOT_OBJECTS else PhraseStatus.ABSENT
    return Phrase(words, *span, status=status, reason=None if reason is None else reason.value, provenance=linker)
