"""Words and marks of a text with their offsets. Owns the split: tokens are slices of the text and do not overlap."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

APOSTROPHES = "'\u2019"
_MOST_INITIALS = 20  # a longer run would be read again from each of its letters
_ABBREVIATION = re.compile(rf"(?:[^\W\d_]\.){{2,{_MOST_INITIALS}}}s?(?!\w)")
_CONTRACTIONS = ("'s", "'re", "'ve", "'ll", "'d", "'m")


@dataclass(frozen=True, slots=True)
class Token:
    """One word or mark.

    Args:
        text: the characters, verbatim.
        start: index of the first character in the text (code points).

    """

    text: str
    start: int

    @property
    def end(self) -> int:
        """Index after the last character."""
        return self.start + len(self.text)

    @property
    def word(self) -> str:
        """The text as it is spelt in word lists: lower case, straight apostrophes."""
        return self.text.casefold().replace(APOSTROPHES[1], "'")

    @property
    def is_word(self) -> bool:
        """Whether it contains a letter or a digit."""
        return any(map(str.isalnum, self.text))


def tokenize(text: str) -> Iterator[Token]:
    """Split a text into words and single marks, in order; white space is left out.

    Hyphens inside a word stay ("double-decker"), possessive and contracted endings are split off ("man" + "'s"),
    initials keep their full stops ("t.v."), and combining marks stay with their letter.
    """
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        end = _word_end(text, place)
        yield from _split_ending(Token(text[place:end], place))
        place = end


def _is_word_character(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")


def _word_end(text: str, start: int) -> int:
    """Return the index after the word, or after the single mark, that starts here."""
    if abbreviation := _ABBREVIATION.match(text, start):
        return abbreviation.end()
    end = start
    while end < len(text) and (_is_word_character(text[end]) or (end > start and _joins(text, end))):
        end += 1
    if end > start and text[end : end + 1] in tuple(APOSTROPHES) and text[end - 1] in "sS":
        end += 1
    return max(end, start + 1)


def _joins(text: str, place: int) -> bool:
    """Return whether the mark at this index is inside a word ("double-decker") or a number ("1,000")."""
    before, after = text[place - 1], text[place + 1 : place + 2]
    if not after:
        return False
    if text[place] in ".,":
        return before.isdigit() and after.isdigit()
    return text[place] in "-" + APOSTROPHES and _is_word_character(after)


def _split_ending(token: Token) -> Iterator[Token]:
    """Split off a possessive or contracted ending ("man's": "man" and "'s")."""
    word = token.word
    length = next((len(ending) for ending in _CONTRACTIONS if word.endswith(ending)), 0)
    if word.endswith("s'"):
        length = 1
    if length == 0 or len(word) != len(token.text) or length == len(word):
        yield token
        return
    yield Token(token.text[:-length], token.start)
    yield Token(token.text[-length:], token.end - length)
