"""Runs of tokens that form noun phrases. Owns the chunk grammar, its repairs, and the choice of the head noun."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from datasetkit.annotation.lexicon import Lexicon, normalise
from datasetkit.annotation.phrases.forms import singular
from datasetkit.annotation.phrases.tokens import Token
from datasetkit.annotation.phrases.words import Words

# Modifiers may be joined ("black and white", "big, red"); nouns may not: "a cat and a dog" is two phrases.
# In nltk's grammar: <DT>*(<RB>*<CD|JJ>(<COMMA>?<CC>?<RB>*<CD|JJ>)*)?<NN|NNS>+, with one letter per tag. It is matched
# backwards from the last noun: forwards, every token of a long run of modifiers would be tried as the start.
_LETTERS = {"DT": "D", "RB": "R", "CD": "J", "JJ": "J", "COMMA": ",", "CC": "C", "NN": "N", "NNS": "N"}
_BACKWARDS = re.compile(r"N+(?:J(?:R*C?,?J)*R*)?D*")
_LONGEST_HEAD_TOKENS = 5


@dataclass(frozen=True, slots=True)
class Chunk:
    """One noun phrase: the indices of its first token, its last token, and its head's first token.

    The head ends with the phrase. ``group`` is the index of the word that counts it ("group" in "a group of people"),
    or None.
    """

    first: int
    last: int
    head: int
    group: int | None = None


def find_chunks(tokens: Sequence[Token], tags: Sequence[str], lexicon: Lexicon, words: Words) -> list[Chunk]:
    """Return the noun phrases of tagged tokens in order; "a group of people" is joined into one."""
    if not tokens:
        return []
    finder = _ChunkFinder([token.word for token in tokens], tags, lexicon, words)
    return finder.join_groups([finder.with_head(first, last) for first, last in finder.spans()])


class _ChunkFinder:
    def __init__(self, word: Sequence[str], tags: Sequence[str], lexicon: Lexicon, words: Words) -> None:
        self._word = word
        self._plain = [normalise(one) for one in word]
        self._tags = tags
        self._lexicon = lexicon
        self._words = words

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last index of each run that the grammar accepts, after cuts at plurals and adverbs."""
        letters = "".join(_LETTERS.get(tag, ".") for tag in reversed(self._tags))
        for match in reversed(list(_BACKWARDS.finditer(letters))):
            for first, last in self._cut(len(letters) - match.end(), len(letters) - 1 - match.start()):
                yield self._without_adverbs(first, last), last

    def _cut(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """End a phrase at a plural that cannot modify the noun after it ("people horseback", unlike "sports car")."""
        for place in range(first, last):
            runs_on = self._tags[place] == "NNS" and self._tags[place + 1] in ("NN", "NNS")
            if runs_on and self._word[place] not in self._words.plural_modifiers:
                yield first, place
                first = place + 1
        yield first, last

    def _without_adverbs(self, first: int, last: int) -> int:
        """Leave out adverbs at the start that belong to the verb ("then two cats", but "very big cats")."""
        while first < last and self._tags[first] == "RB":
            word = self._word[first]
            degree = word in self._words.degree_adverbs or word.endswith("ly")
            if degree and self._tags[first + 1] in ("JJ", "RB"):
                break  # "very big cats"
            first += 1  # "then two cats"
        return first

    def with_head(self, first: int, last: int) -> Chunk:
        """Find the head: the longest compound that ends the phrase ("fire hydrant"), or its last word ("red car")."""
        for head in range(max(first, last - _LONGEST_HEAD_TOKENS + 1), last):
            text = " ".join(filter(None, self._plain[head : last + 1]))
            is_noun = self._lexicon.exact_entry(text) is not None or singular(text) in self._words.compounds
            if self._plain[head] and is_noun:
                return Chunk(first, last, head)
        return Chunk(first, last, last)

    def join_groups(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Join "a group" and "people" at "of", from right to left: "a lot of pieces of cake" becomes one phrase."""
        joined: list[Chunk] = []
        for chunk in reversed(self._with_counts(list(chunks))):
            follower = joined[-1] if joined else None
            if follower is not None and self._hands_over(chunk, follower):
                joined[-1] = replace(follower, first=chunk.first, group=chunk.last)
            elif chunk.head >= chunk.first:
                joined.append(chunk)
        return joined[::-1]

    def _with_counts(self, chunks: list[Chunk]) -> list[Chunk]:
        """Add bare counts before "of" ("two of the cats"): chunks without a noun, whose head is before their start."""
        covered = {place for chunk in chunks for place in range(chunk.first, chunk.last + 1)}
        for place in range(len(self._word) - 1):
            counts = self._tags[place] in ("CD", "DT") or self._word[place] in self._words.partitives
            if counts and place not in covered and self._word[place + 1] == "of":
                first = place
                while first > 0 and first - 1 not in covered and self._tags[first - 1] in ("CD", "DT"):
                    first -= 1
                chunks.append(Chunk(first, place, first - 1))
        return sorted(chunks, key=lambda chunk: chunk.first)

    def _hands_over(self, chunk: Chunk, follower: Chunk) -> bool:
        """Return whether a chunk only counts what follows it."""
        words = self._words
        of = chunk.last + 1
        if of >= len(self._word) or self._word[of] != "of" or follower.first != of + 1:
            return False  # "a cat on a mat"
        if chunk.head < chunk.first:
            return True  # "two of the cats"
        noun = singular(self._word[chunk.last])
        bare = self._tags[follower.first] != "DT"
        plural = self._tags[follower.last] == "NNS" or self._word[follower.last] in words.zero_plurals
        if noun in words.partitives:
            return True  # "part of a bus"
        if noun in words.measures:
            # "a cup of coffee", "a slice of the pizza", but not "a cup of the coffee"
            return bare or noun in ("slice", "piece")
        return noun in words.group_nouns and (plural or bare)  # "a herd of elephants", but not "a bowl of fruit"
