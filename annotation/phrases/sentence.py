"""A text while it is being tagged: its words, their tags so far, and the questions that the rules ask about them.

Makes no decisions; :mod:`datasetkit.annotation.phrases.tagging` and
:mod:`datasetkit.annotation.phrases.open_words` make them.
"""

from __future__ import annotations

from collections.abc import Sequence

from datasetkit.annotation.lexicon import Lexicon, normalise
from datasetkit.annotation.phrases.forms import is_plural, verb_bases
from datasetkit.annotation.phrases.tokens import Token
from datasetkit.annotation.phrases.words import Words

NOUNS = frozenset({"NN", "NNS"})
_SIDES = frozenset({"left", "right"})


class Sentence:
    """The tokens of one text with their tags so far; an empty tag is not decided yet.

    ``base`` holds PatternTagger's tags; nouns of the lexicon are nouns here. ``plain`` holds the words in the spelling
    of the lexicon, "" for marks.
    """

    def __init__(self, tokens: Sequence[Token], base: Sequence[str], lexicon: Lexicon, words: Words) -> None:
        self.base = base
        self.lexicon = lexicon
        self.words = words
        self.word = [token.word for token in tokens]
        self.plain = [normalise(word) for word in self.word]
        self.is_word = [token.is_word for token in tokens]
        self.tags = [""] * len(tokens)
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self.word)

    def word_at(self, index: int) -> str:
        """Return a word, "" beyond either end."""
        return self.word[index] if 0 <= index < len(self.word) else ""

    def tag_at(self, index: int) -> str:
        """Return a tag, "" beyond either end."""
        return self.tags[index] if 0 <= index < len(self.tags) else ""

    def before(self, index: int) -> int:
        """Return the index of the nearest earlier token that is not an adverb; -1 at the start."""
        place = index - 1
        while place >= 0 and self.tags[place] == "RB":
            place -= 1
        return place

    def is_name(self, word: str) -> bool:
        """Return whether the lexicon has the word as an entry."""
        return bool(self.lexicon.categories(word))

    def is_form(self, word: str, verbs: frozenset[str]) -> bool:
        """Return whether a word is the base form or the "-s" form of one of the verbs."""
        return word in verbs or any(base in verbs for base in verb_bases(word))

    def noun_tag(self, word: str) -> str:
        """Return the tag of a noun by its form."""
        return "NNS" if is_plural(word, self.words) else "NN"

    def is_open(self, index: int) -> bool:
        """Return whether the word at this index may be a noun, an adjective or a verb."""
        if not 0 <= index < len(self.word) or not self.is_word[index]:
            return False
        word, words = self.word[index], self.words
        closed = (words.articles, words.possessives, words.conjunctions, words.pronouns, words.auxiliaries)
        return not any(word in members for members in (*closed, words.prepositions, words.adverbs))

    def is_verb_only(self, word: str) -> bool:
        """Return whether a word is a verb wherever no noun is expected."""
        if word in self.words.ing_nouns or self.is_name(word):
            return False
        return word.endswith("ing") or self.is_form(word, self.words.verbs)

    def goes_on(self, index: int) -> bool:
        """Return whether a noun phrase may continue after this word."""
        following = index + 1
        if not self.is_open(following) or self.tags[following] == "IN":
            return False  # "a dog on", "a dog next to"
        if self.word[following] in _SIDES and self.word_at(following + 1) == "of":
            return False  # "the car left of"
        # "a parked car", but not "a dog wearing"
        return self.tags[following] in ("NN", "NNS", "CD") or not self.is_verb_only(self.word[following])

    def has_object(self, index: int) -> bool:
        """Return whether a determiner or a pronoun follows, as after a verb ("drinks a beer", "drinks it")."""
        word = self.word_at(index + 1)
        return word in self.words.articles or word in self.words.possessives or word in ("it", "him", "them")

    def ends_clause(self, index: int) -> bool:
        """Return whether what follows may follow a verb: an object, a preposition, an adverb, a mark or the end."""
        word = self.word_at(index + 1)
        if not word or self.has_object(index) or not self.is_word[index + 1]:
            return True
        # "stands in", "stands still", but not "a stand of trees"
        return word != "of" and (word in self.words.prepositions or word in self.words.adverbs)

    def phrase_start(self, index: int) -> int:
        """Return the index where the noun phrase around a token begins; all tags up to that token must be decided."""
        for place in range(len(self._starts), index + 1):
            joined = place > 0 and self.tags[place - 1] in ("DT", "CD", "JJ", "NN", "NNS", "POS")
            self._starts.append(self._starts[-1] if joined and self.tags[place] != "DT" else place)
        return self._starts[index]

    def is_plural_subject(self, index: int) -> bool:
        """Return whether the noun at this index is plural, or a group that takes a plural verb ("a couple sit")."""
        word = self.word_at(index)
        return self.tag_at(index) == "NNS" or word in self.words.zero_plurals or self.lexicon.is_group(word)
