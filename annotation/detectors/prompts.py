"""Prompts that fit into a model. Owns how longer ones are split between phrases.

A prompt that fits is never split: the model fuses the whole prompt with the image, so scores of parts differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from datasetkit.core.detections import Query
from datasetkit.core.ledger import NoticeKind

TextOffsets = Callable[[str], Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Part:
    """The text of one call, closed by a full stop, and the index of each of its phrases in the whole query."""

    query: Query
    phrases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """A query in parts that fit the model, in order; a phrase of which no token fits is in none of them."""

    parts: tuple[Part, ...]
    notices: tuple[NoticeKind, ...] = ()


def close_prompt(text: str) -> str:
    """End a prompt with a full stop: without one, GroundingDINO's last phrase does not attend to its own words."""
    return text if text.rstrip().endswith(".") else f"{text} ."


def split_query(query: Query, offsets_of: TextOffsets, token_limit: int) -> Parts:
    """Split a query that does not fit, between its phrases.

    Each part has as many phrases as fit, with the text that follows each up to the next. A phrase that fits only
    without the text around it becomes a part by itself; one that does not fit even so loses its last tokens.

    Args:
        query: may have no phrase.
        offsets_of: returns the [start, end) of every token of a text, without special tokens.
        token_limit: maximum number of these tokens in a prompt.

    """

    def fits(part: Part) -> bool:
        return len(offsets_of(part.query.text)) <= token_limit

    count = len(query.spans)
    if not count:
        return Parts(())
    if fits(whole := _section(query, 0, count)):
        return Parts((whole,))
    parts: list[Part] = []
    is_cut = False
    first = 0
    while first < count:
        last = first
        while last < count and fits(_section(query, first, last + 1)):
            last += 1
        if last > first:
            parts.append(_section(query, first, last))
        elif fits(alone := _alone(query.phrases[first], first)):
            parts.append(alone)
        else:
            is_cut = True
            parts += _cut(query.phrases[first], first, offsets_of, token_limit)
        first = max(last, first + 1)
    is_split = count > 1 or not is_cut
    kinds = ((NoticeKind.PROMPT_SPLIT, is_split), (NoticeKind.PHRASE_CUT, is_cut))
    return Parts(tuple(parts), tuple(kind for kind, is_so in kinds if is_so))


def _section(query: Query, first: int, last: int) -> Part:
    """Return the phrases from ``first`` up to ``last``, with the text before the very first one and after each."""
    begin = query.spans[first][0] if first else 0
    end = query.spans[last][0] if last < len(query.spans) else len(query.text)
    spans = tuple((start - begin, stop - begin) for start, stop in query.spans[first:last])
    return Part(Query(close_prompt(query.text[begin:end]), spans), tuple(range(first, last)))


def _alone(phrase: str, index: int) -> Part:
    return Part(Query(close_prompt(phrase), ((0, len(phrase)),)), (index,))


def _cut(phrase: str, index: int, offsets_of: TextOffsets, token_limit: int) -> list[Part]:
    """Return the longest beginning of a phrase that fits and ends with a token; nothing if not even one token fits."""
    ends = [end for start, end in offsets_of(phrase)[:token_limit] if start < end]
    for end in sorted(set(ends), reverse=True):
        part = _alone(phrase[:end], index)
        if len(offsets_of(part.query.text)) <= token_limit:
            return [part]
    return []
