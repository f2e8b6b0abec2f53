"""Runs of tokens that are noun phrases. Owns the chunk grammar, its repairs, and which noun a phrase is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from datasetkit.annotation.lexicon import Lexicon, normalise
from datasetkit.annotation.phrases.forms import singular
from datasetkit.annotation.phrases.tokens import Token
from datasetkit.annotation.phrases.words import Words

# Modifiers may be joined ("black and white", "big, red"); nouns may not: "a cat and a dog" is two phrases.
# In the grammar of nltk: <DT>*(<RB>*<CD|JJ>(<COMMA>?<CC>?<RB>*<CD|JJ>)*)?<NN|NNS>+, a letter for each tag. It is read
# from the last noun backwards: forwards, each place of a long run of modifiers would be tried as the start of a phrase.
_LETTERS = {"DT": "D", "RB": "R", "CD": "J", "JJ": "J", "COMMA": ",", "CC": "C", "NN": "N", "NNS": "N"}
_BACKWARDS = re.compile(r"N+(?:J(?:R*C?,?J)*R*)?D*")
_LONGEST_HEAD_TOKENS = 5


@dataclass(frozen=True, slots=True)
class Chunk:
    """One noun phrase: the places of its first and last token, and of the head's first one; the last ends the head.

    ``group`` is the place of the word that counts for it ("group" in "a group of people"), or None.
    """

    first: int
    last: int
    head: int
    group: int | None = None


def find_chunks(tokens: Sequence[Token], tags: Sequence[str], lexicon: Lexicon, words: Words) -> list[Chunk]:
    """Give the noun phrases of tagged tokens in order; "a group of people" is joined to one."""
    if not tokens:
        return []
    finder = _ChunkFinder([token.word for token in tokens], tags, lexicon, words)
    return finder.join_groups([finder.with_head(first, last) for first, last in finder.spans()])


class _ChunkFinder:
    def __init__(self, word: Sequence[str], tags: Sequence[str], lexicon: Lexicon, words: Words) -> None:
        self._word = word
        self._tags = tags
        self._lexicon = lexicon
        self._words = words

    def spans(self) -> Iterator[tuple[int, int]]:
        """Give first and last place of each run that the grammar accepts, cut after plurals, adverbs taken off."""
        letters = "".join(_LETTERS.get(tag, ".") for tag in reversed(self._tags))
        for match in reversed(list(_BACKWARDS.finditer(letters))):
            for first, last in self._cut(len(letters) - match.end(), len(letters) - 1 - match.start()):
                yield self._without_adverbs(first, last), last

    def _cut(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """End a phrase at a plural that cannot describe the noun after it ("people horseback")."""
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
                break
            first += 1
        return first

    def with_head(self, first: int, last: int) -> Chunk:
        """Find the head: the longest compound that ends the phrase, else its last word."""
        for head in range(max(first, last - _LONGEST_HEAD_TOKENS + 1), last):
            text = normalise(" ".join(self._word[head : last + 1]))
            if not text.startswith(normalise(self._word[head]) or "\0"):
                continue
            entry = self._lexicon.entry(text)
            if (entry is not None and entry.count(" ") == text.count(" ")) or singular(text) in self._words.compounds:
                return Chunk(first, last, head)
        return Chunk(first, last, last)

    def join_groups(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Join "a group" and "people" over "of", from the right, so that "a lot of pieces of cake" becomes one."""
        joined: list[Chunk] = []
        for chunk in reversed(self._with_counts(list(chunks))):
            follower = joined[-1] if joined else None
            if follower is not None and self._hands_over(chunk, follower):
                joined[-1] = replace(follower, first=chunk.first, group=chunk.last)
            elif chunk.head >= chunk.first:
                joined.append(chunk)
        return joined[::-1]

    def _with_counts(self, chunks: list[Chunk]) -> list[Chunk]:
        """Add the bare counts before "of" ("two of the cats"): chunks without a noun, headed before their start."""
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
        """Tell whether a chunk only counts what follows it."""
        words = self._words
        of = chunk.last + 1
        if of >= len(self._word) or self._word[of] != "of" or follower.first != of + 1:
            return False
        if chunk.head < chunk.first:
            return True
        noun = singular(self._word[chunk.last])
        bare = self._tags[follower.first] != "DT"
        plural = self._tags[follower.last] == "NNS" or self._word[follower.last] in words.zero_plurals
        if noun in words.partitives:
            return True
        if noun in words.measures:
            return bare or noun in ("slice", "piece")
        return noun in words.group_nouns and (plural or bare)
