"""Noun phrases of a text with exact spans. Owns their numbers and the decision whether they name an object."""

from __future__ import annotations

from collections.abc import Sequence

from datasetkit.annotation.lexicon import Lexicon, coco_lexicon, normalise
from datasetkit.annotation.phrases.chunks import Chunk, find_chunks
from datasetkit.annotation.phrases.forms import is_plural, singular
from datasetkit.annotation.phrases.tagging import tag_tokens
from datasetkit.annotation.phrases.tokens import Token, tokenize
from datasetkit.annotation.phrases.words import Words, english_words
from datasetkit.core.protocols import NounPhrase

_LONGEST_NUMBER = 9


class NounPhraseFinder:
    """Finds noun phrases with TextBlob's PatternTagger, corrections to its tags, and a grammar of tags.

    Pronouns are not phrases. "a group of people" is one phrase with the head "people"; "a bowl of fruit" is two; a
    possessor is a separate phrase ("a man's hat" contains "a man" and "hat").

    Args:
        lexicon: its nouns and compounds are recognised as such; COCO's by default.

    """

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self._lexicon = coco_lexicon() if lexicon is None else lexicon
        self._words = english_words()

    def find(self, text: str) -> Sequence[NounPhrase]:
        """Return the noun phrases in order of their start; they do not overlap."""
        tokens = list(tokenize(text))
        tags = tag_tokens(tokens, self._lexicon, self._words)
        chunks = find_chunks(tokens, tags, self._lexicon, self._words)
        return tuple(_Reader(text, tokens, chunk, self._lexicon, self._words).phrase() for chunk in chunks)


class _Reader:
    """Reads one chunk."""

    def __init__(self, text: str, tokens: Sequence[Token], chunk: Chunk, lexicon: Lexicon, words: Words) -> None:
        self._text = text
        self._tokens = tokens
        self._chunk = chunk
        self._lexicon = lexicon
        self._words = words
        before = chunk.first - 1
        self._opener = tokens[before].word if before >= 0 else ""
        self._modifiers = [token.word for token in tokens[chunk.first : chunk.head]]
        self._last = tokens[chunk.last].word

    def phrase(self) -> NounPhrase:
        chunk = self._chunk
        first, head_start, end = self._tokens[chunk.first], self._tokens[chunk.head].start, self._tokens[chunk.last].end
        plural, number = self._plural_and_number()
        return NounPhrase(
            start=first.start,
            end=end,
            head=self._text[head_start:end],
            head_start=head_start,
            number=number,
            plural=plural,
            definite=first.word in self._words.definite_determiners,
            other=any(word in self._words.other_words for word in self._modifiers),
            is_object=self._is_object(),
        )

    def _plural_and_number(self) -> tuple[bool, int | None]:
        words, group = self._words, self._chunk.group
        if self._opener in ("without", "no") or "no" in self._modifiers[:1]:
            return is_plural(self._last, words), 0  # "no cars", "without a hat"
        if group is None and self._lexicon.is_group(self._last):
            # "a couple" is two; "couples" and "a crowd" have no number
            alone = not is_plural(self._last, words)
            return True, self._lexicon.size(self._last) if alone else None
        if group is None:
            return self._own_number(self._modifiers, is_plural(self._last, words))  # "two red cars"
        outer = [token.word for token in self._tokens[self._chunk.first : group]]
        inner = [token.word for token in self._tokens[group + 2 : self._chunk.head]]
        counter = self._tokens[group].word
        name = singular(counter)
        inner_plural, inner_number = self._own_number(inner, is_plural(self._last, words))
        if counter in words.numbers or counter in words.articles or counter in words.quantifiers:
            return self._own_number([*outer, counter], plural=inner_plural)  # "two of the cats", "many of the cats"
        if name in words.measures or (name == "pair" and self._last in words.pair_is_one):
            return self._own_number(outer, is_plural(counter, words))  # "two slices of pizza", "a pair of scissors"
        if name in words.partitives:
            return inner_plural, inner_number if inner_number is not None or inner_plural else 1  # "part of a bus"
        size = words.group_sizes.get(name) if counter == name else None
        # "a group of three people", "a pair of cats"
        return True, inner_number if inner_number not in (None, 1) else size

    def _own_number(self, modifiers: Sequence[str], plural: bool) -> tuple[bool, int | None]:
        """Read the number before a noun of the given form."""
        words = self._words
        first = modifiers[0] if modifiers else ""
        if first in ("each", "every"):
            return True, None  # "every cat"
        singular_determiner = first in words.singular_determiners
        counts = [words.numbers[word] for word in modifiers if word in words.numbers]
        counts += [int(word) for word in modifiers if word.isdecimal() and len(word) <= _LONGEST_NUMBER]
        sizes = [
            words.group_sizes[word] for word in modifiers if word in words.group_sizes and word not in words.numbers
        ]
        if self._last in words.zero_plurals:
            # "three sheep", "a dozen sheep", "a few sheep", but "a sheep"
            many = any(count > 1 for count in counts) or not words.quantifiers.isdisjoint(modifiers)
            plural = not singular_determiner or bool(sizes) or many
        number = _combine(counts) if counts else next(iter(sizes), None)
        if first in ("a", "an", "another") and number is None and not words.quantifiers.intersection(modifiers):
            plural = False  # "a tennis rackets": the article decides
        if not plural and (
            first in words.quantifiers or (first in words.numbers and len(modifiers) == 1 and number != 1)
        ):
            plural = True  # "many fruit", "two elephant"
        if not plural:
            return False, 1 if singular_determiner or 1 in counts else None  # "a cat" and "one cat" are 1
        if "both" in modifiers:
            return True, 2  # "both cats"
        return number != 1, number  # "two cats", "cats"

    def _is_object(self) -> bool:
        words = self._words
        head = normalise(self._text[self._tokens[self._chunk.head].start : self._tokens[self._chunk.last].end])
        if not self._modifiers and head in words.sports and self._opener in words.sport_openers:
            return False  # "playing tennis"
        if self._lexicon.categories(head):
            return True  # "a baseball bat"
        return not {head, singular(head)} & (words.not_objects | words.scenes)  # not "the background", "a kitchen"


def _combine(counts: Sequence[int]) -> int:
    """Read "two hundred" as 200 and "twenty five" as 25."""
    total = counts[0]
    for count in counts[1:]:
        total = total * count if count > total else total + count
    return total
