"""Parts of speech of caption words. Owns the corrections to TextBlob's PatternTagger.

That tagger gives each word the tag that it mostly has in newspapers, and is wrong for the words of captions ("sink" and
"surf" as verbs only, "next" before "to" as an adjective). So its answer is asked last: closed classes, fixed words and
compounds (the lexicon's and our own) come first, and words that are verbs as often as nouns are decided by what stands
before them, from left to right.

Tags: DT determiner, CD number or quantifier, RB adverb, JJ modifier, NN and NNS nouns, POS possessive ending, CC
conjunction, IN preposition, PRP pronoun, VB verb of any form, COMMA, STOP any other mark.
"""

from __future__ import annotations

from collections.abc import Sequence

from annotation.lexicon import Lexicon, normalise
from annotation.phrases.forms import is_plural, verb_bases
from annotation.phrases.tokens import Token
from annotation.phrases.words import Words

_LONGEST_FIXED = 4
_NOUNS = frozenset({"NN", "NNS"})
# After one of these a noun is due.
_NOUN_OPENERS = frozenset({"DT", "JJ", "CD", "POS"})


def base_tags(tokens: Sequence[Token]) -> list[str]:
    """Give what PatternTagger says of each token; marks get STOP."""
    # TextBlob loads all of nltk, which takes seconds: not before a text is there to be tagged.
    from textblob.en.taggers import PatternTagger

    places = [index for index, token in enumerate(tokens) if token.is_word]
    tags = ["STOP"] * len(tokens)
    text = " ".join(tokens[index].word for index in places)
    if text:
        for index, (_, tag) in zip(places, PatternTagger().tag(text, tokenize=False), strict=True):
            tags[index] = tag
    return tags


class CaptionTagger:
    """Tags the tokens of one text; make one for each text and call :meth:`run`.

    Args:
        tokens: the text's words and marks.
        lexicon: its nouns and compounds are nouns here.
        words: the word lists.

    """

    def __init__(self, tokens: Sequence[Token], lexicon: Lexicon, words: Words) -> None:
        self._words = words
        self._lexicon = lexicon
        self._word = [token.word for token in tokens]
        self._tokens = tokens
        self._base = base_tags(tokens)
        self._tags: list[str | None] = [None] * len(tokens)

    def run(self) -> list[str]:
        """Give one tag for each token."""
        self._mark_fixed()
        for index in range(len(self._tags)):
            if self._tags[index] is None:
                self._tags[index] = self._closed(index)
        for index in range(len(self._tags)):
            if self._tags[index] is None:
                self._tags[index] = self._open(index)
        tags = [tag or "STOP" for tag in self._tags]
        self._mark_generic_possessors(tags)
        self._promote(tags)
        return tags

    # --- fixed words and compounds ---

    def _mark_fixed(self) -> None:
        """Tag words that belong together: the longest run that is a fixed word, a compound or a lexicon entry."""
        index = 0
        while index < len(self._word):
            for length in range(_LONGEST_FIXED, 1, -1):
                run = self._word[index : index + length]
                if len(run) == length and self._mark_run(index, run):
                    index += length
                    break
            else:
                index += 1

    def _mark_run(self, index: int, run: list[str]) -> bool:
        text = " ".join(run)
        places = range(index, index + len(run))
        if text in self._words.fixed:
            for place in places:
                self._tags[place] = "IN"
            return True
        if not all(token.is_word for token in self._tokens[index : index + len(run)]):
            return False
        plain = normalise(text)
        if plain.count(" ") == 0 or not self._is_compound(plain):
            return False
        if run[-1] in self._words.prepositions and not self._noun_due(index):
            return False
        if self._is_clause(index, run):
            return False
        for place in places:
            self._tags[place] = "NN"
        self._tags[places[-1]] = self._number_tag(run[-1])
        return True

    def _is_compound(self, plain: str) -> bool:
        entry = self._lexicon.entry(plain)
        if entry is not None and entry.count(" ") == plain.count(" "):
            return True
        return plain in self._words.compounds or (plain.endswith("s") and plain[:-1] in self._words.compounds)

    def _is_clause(self, index: int, run: list[str]) -> bool:
        """Tell whether a compound is rather a subject and its verb ("the bus stops at a light")."""
        determiner = self._word[index - 1] if index else ""
        follower = self._next(index + len(run) - 1)
        return (
            len(run) == 2
            and run[1].endswith("s")
            and run[1][:-1] in self._words.noun_verbs
            and (determiner == "the" or determiner in self._words.singular_determiners)
            and follower in self._words.prepositions - {"of"}
        )

    def _noun_due(self, index: int) -> bool:
        before = self._word[index - 1] if index else ""
        words = self._words
        return before in words.articles or before in words.possessives or before in words.colours | words.adjectives

    # --- closed classes ---

    def _closed(self, index: int) -> str | None:
        """Give the tag of a word whose class is closed, or None."""
        word, words = self._word[index], self._words
        if not self._tokens[index].is_word:
            return "COMMA" if word == "," else "CC" if word == "&" else "STOP"
        if word in ("'s", "'"):
            return self._apostrophe(index)
        if word == "that":
            return "PRP" if index and self._tags[index - 1] is None and self._could_be_noun(index - 1) else "DT"
        if word in words.possessives:
            return "DT" if word != "her" or self._modifies_next(index) else "PRP"
        if word == "can" and index and (self._tags[index - 1] == "DT" or self._word[index - 1] in words.adjectives):
            return None
        if word in words.adjective_prepositions and self._tags[index] is None and self._describes_next(index):
            return "JJ"
        if word in words.numbers or word[:1].isdecimal():
            return "CD"
        for tag, members in (
            ("DT", words.articles),
            ("CD", words.quantifiers),
            ("CC", words.conjunctions),
            ("PRP", words.pronouns),
            ("VB", words.auxiliaries),
            ("IN", words.prepositions),
            ("RB", words.adverbs),
        ):
            if word in members:
                return tag
        return None

    def _apostrophe(self, index: int) -> str:
        """Tell a possessive ending from a shortened "is"."""
        if index == 0 or self._tags[index - 1] in ("PRP", "DT", "IN"):
            return "VB"
        following = self._word[index + 1] if index + 1 < len(self._word) else ""
        if following.endswith("ing") and following not in self._words.ing_nouns:
            return "VB"
        return "POS" if self._could_be_noun(index + 1) else "VB"

    def _could_be_noun(self, index: int) -> bool:
        """Tell whether an open word stands here: a noun, an adjective or a verb."""
        if not 0 <= index < len(self._word) or not self._tokens[index].is_word:
            return False
        word, words = self._word[index], self._words
        closed = (words.articles, words.possessives, words.conjunctions, words.pronouns, words.auxiliaries)
        return not any(word in members for members in (*closed, words.prepositions, words.adverbs))

    def _modifies_next(self, index: int) -> bool:
        """Tell whether a noun phrase goes on after this word."""
        following = index + 1
        if not self._could_be_noun(following) or self._tags[following] == "IN":
            return False
        word = self._word[following]
        return self._tags[following] in ("NN", "NNS", "CD") or not self._is_verb_only(word)

    def _describes_next(self, index: int) -> bool:
        """Tell whether a preposition stands where an adjective does ("the opposite side")."""
        return index > 0 and self._tags[index - 1] in ("DT", "IN") and self._modifies_next(index)

    def _is_verb_only(self, word: str) -> bool:
        """Tell whether a word is a verb wherever no noun is due."""
        words = self._words
        if word in words.ing_nouns or self._is_name(word):
            return False
        return word.endswith("ing") or word in words.verbs or any(base in words.verbs for base in verb_bases(word))

    # --- open classes, from left to right ---

    def _open(self, index: int) -> str:
        word, words = self._word[index], self._words
        if not word[0].isascii() and not any("a" <= letter <= "z" for letter in word):
            return "STOP"
        if self._is_participle(index):
            return self._participle(index)
        if word in words.colours or word in words.adjectives:
            return self._adjective(index)
        if word in words.shades and self._next(index) in words.colours:
            return "JJ"
        if self._is_form(word, words.noun_verbs):
            return self._noun_or_verb(index)
        if self._is_form(word, words.verbs) and not self._is_name(word):
            return self._verb_or_noun(index)
        return self._other(index)

    def _other(self, index: int) -> str:
        """Decide by the lexicon, then by the base tagger, with what stands before."""
        word, base, before = self._word[index], self._base[index], self._before(index)
        known = self._is_name(word) or word in self._words.ing_nouns
        if known or base.startswith("NN"):
            return self._number_tag(word) if known else self._unknown_noun(index)
        if base.startswith("JJ"):
            ends = before in ("DT", "JJ") and not self._modifies_next(index)
            ends = ends and self._tags[self._phrase_start(index)] == "DT"
            return self._number_tag(word) if ends else "JJ"
        if base.startswith("VB"):
            verb = before in ("NN", "NNS", "PRP", "VB", "RB") or (index and self._word[index - 1] == "to")
            return (
                "VB"
                if verb or (before == "CC" and self._opens_object(index + 1, strict=True))
                else self._number_tag(word)
            )
        if base.startswith("RB"):
            return "RB"
        return "NN" if before in ("DT", "JJ") else "RB"

    def _unknown_noun(self, index: int) -> str:
        """A word that no list has, a noun by its tagger: a verb where the nouns before ask for one."""
        tag, before = self._number_tag(self._word[index]), self._before(index)
        if tag == "NN" and before == "NNS" and self._word[index - 1] not in self._words.plural_modifiers:
            return "VB" if self._opens_object(index + 1) else "NN"
        if (
            tag == "NNS"
            and before == "NN"
            and self._word[self._phrase_start(index - 1)] in ("a", "an", "one", "another")
        ):
            return "NN" if self._modifies_next(index) else "VB"
        return tag

    def _adjective(self, index: int) -> str:
        word, words = self._word[index], self._words
        if word not in words.adjective_nouns or self._modifies_next(index):
            return "JJ"
        if self._next(index) in words.conjunctions and word in words.colours:
            beyond = self._word[index + 2] if index + 2 < len(self._word) else ""
            if beyond in words.colours or (beyond in words.adjectives and beyond not in words.adjective_nouns):
                return "JJ"
        if index and self._before(index) != "DT" and word in words.colours:
            opener = self._word[index - 1]
            if opener in words.copulas or opener in words.colours or not self._is_name(word):
                return "JJ"
            if self._before(index) == "CC" and index > 1 and self._word[index - 2] in words.colours:
                return "JJ"
        return "NN"

    def _is_participle(self, index: int) -> bool:
        word, words = self._word[index], self._words
        if word in words.irregular_participles:
            return True
        if word.endswith("ing") and len(word) > 4:
            is_verb = word[:-3] in words.verbs | words.noun_verbs and self._before(index) in ("VB", "PRP", "NNS")
            return is_verb or word not in words.ing_nouns
        return word.endswith("ed") and len(word) > 3 and not self._base[index].startswith("NN") and "-" not in word

    def _participle(self, index: int) -> str:
        """Tell "a parked car" from "a car parked"."""
        word, words = self._word[index], self._words
        before, place = self._before(index, skip="RB"), index - 1
        while place >= 0 and self._tags[place] == "RB":
            place -= 1
        opener = self._word[place] if place >= 0 else ""
        goes_on = self._modifies_next(index)
        is_ing = word.endswith("ing")
        if before == "DT" and not (
            opener in words.stands_alone and is_ing and word not in words.describing_participles
        ):
            return "JJ" if goes_on else "VB" if opener in words.stands_alone else "NN"
        if not goes_on:
            return "VB"
        if before in _NOUNS:
            return self._compound_participle(index)
        if before in ("VB", "PRP"):
            return "JJ" if not is_ing and before == "VB" else "VB"
        if before == "CC":
            left = self._before(place)
            return (
                "JJ" if left in ("NN", "NNS", "JJ") and (not is_ing or word in words.describing_participles) else "VB"
            )
        if is_ing and before != "JJ":
            return "JJ" if word in words.describing_participles else "VB"
        return "VB" if opener in words.predicative or (opener in words.stands_alone and is_ing) else "JJ"

    def _compound_participle(self, index: int) -> str:
        """Tell "a snow covered road" from "a man fed sheep"; the noun before is a modifier too."""
        word, before = self._word[index], self._word[index - 1]
        if self._tags[index - 1] != "NN" or word.endswith("ing"):
            return "VB"
        following = self._next(index)
        plain = not self._is_name(before) and self._is_name(following) and not self._is_participle(index + 1)
        if word in self._words.compound_participles or (word.endswith("ed") and plain):
            self._tags[index - 1] = "JJ"
            return "JJ"
        return "VB"

    def _verb_or_noun(self, index: int) -> str:
        """A word that is a verb unless a noun is due ("rides a bus", "a ride")."""
        word, words, before = self._word[index], self._words, self._before(index)
        opener = self._word[index - 1] if index else ""
        if before in _NOUN_OPENERS and opener not in words.predicative:
            alone = opener in words.stands_alone and (before != "DT" or word.endswith("s"))
            return "VB" if alone else self._number_tag(word)
        if before == "IN" and opener not in words.clause_openers and opener != "to":
            return self._number_tag(word)
        if before == "NN" and not word.endswith("s") and not self._subject_takes_base(index):
            return "VB" if self._opens_object(index + 1) else "NN"
        return "VB"

    def _noun_or_verb(self, index: int) -> str:
        """A word that is a noun unless a subject stands before it ("skis", "two men ski")."""
        word, words, before = self._word[index], self._words, self._before(index, skip="RB")
        noun = self._number_tag(word)
        base_form = word in words.noun_verbs and noun == "NN"
        if before in _NOUNS:
            verb = self._agrees_as_base(index) if base_form else self._agrees_as_third_person(index)
        elif before == "PRP":
            verb = self._word[index - 1] not in words.pronouns or self._word[index - 1] not in ("there", "here")
        elif before == "CC":
            verb = self._opens_object(index + 1, strict=True)
        elif before == "VB":
            verb = base_form and self._word[index - 1] in words.modals
        elif before == "IN" and self._word[index - 1] == "to" and base_form:
            attached = index > 1 and self._word[index - 2].endswith("ed")
            verb = not attached and self._opens_object(index + 1)
        else:
            verb = False
        return "VB" if verb else noun

    def _agrees_as_base(self, index: int) -> bool:
        """Tell whether the nouns before want a verb without "-s": they are plural, or two joined."""
        if self._before(index) == "RB":
            return self._opens_object(index + 1)
        if self._subject_takes_base(index):
            return self._word[index - 1] not in self._words.plural_modifiers
        start = self._phrase_start(index - 1)
        return start > 0 and self._tags[start - 1] == "CC" and self._opens_object(index + 1)

    def _agrees_as_third_person(self, index: int) -> bool:
        """Tell whether the nouns before want a verb with "-s": they are singular by their determiner, or a mover."""
        if self._tags[index - 1] == "NNS":
            return False
        start = self._phrase_start(index - 1)
        if self._word[start] in self._words.singular_determiners:
            return True
        if self._tags[start] == "CD":
            return False
        if self._word[index - 1] in self._words.mover_words:
            return True
        categories = self._lexicon.categories(self._word[index - 1])
        return any(category in self._words.movers for category in categories)

    def _subject_takes_base(self, index: int) -> bool:
        """Tell whether the noun just before is plural or a group that may act as plural."""
        before = self._word[index - 1]
        return self._tags[index - 1] == "NNS" or before in self._words.zero_plurals or self._lexicon.is_group(before)

    def _phrase_start(self, index: int) -> int:
        """Give the first place of the noun phrase that has this place."""
        while index > 0 and self._tags[index - 1] in ("DT", "CD", "JJ", "NN", "NNS", "POS"):
            index -= 1
            if self._tags[index] == "DT":
                break
        return index

    def _opens_object(self, index: int, *, strict: bool = False) -> bool:
        """Tell whether something follows that follows verbs: a determiner, a preposition, or the end."""
        if index >= len(self._word):
            return not strict
        word, words = self._word[index], self._words
        if word in words.articles or word in words.possessives or word in ("it", "him", "them"):
            return True
        if strict:
            return False
        return word != "of" and (word in words.prepositions or word in words.adverbs or not self._tokens[index].is_word)

    # --- afterwards ---

    def _mark_generic_possessors(self, tags: list[str]) -> None:
        """Make "men's" a modifier in "a men's room": it names no men."""
        for index in range(1, len(tags)):
            owner = self._word[index - 1]
            if tags[index] != "POS" or owner not in self._words.generic_possessors:
                continue
            known = index > 1 and self._word[index - 2] in self._words.definite_determiners
            if not known or self._next(index) in self._words.generic_possessions:
                tags[index - 1 : index + 1] = ["JJ", "JJ"]

    def _promote(self, tags: list[str]) -> None:
        """Make the last modifier after a determiner a noun where none follows ("a remote", "the top of")."""
        words = self._words
        for index, tag in enumerate(tags):
            if tag not in ("JJ", "RB") or self._follows(tags, index):
                continue
            start = index
            while start > 0 and tags[start - 1] in ("JJ", "CD", "RB"):
                start -= 1
            word = self._word[index]
            known = word in words.colours or word in words.adjectives or word in words.adverbs or tag == "RB"
            allowed = not known or word in words.adjective_nouns or word in words.not_objects
            if (
                start > 0
                and tags[start - 1] == "DT"
                and allowed
                and self._word[index - 1] not in ("all", "both", "that")
            ):
                tags[index] = self._number_tag(word)

    @staticmethod
    def _follows(tags: Sequence[str], index: int) -> bool:
        """Tell whether the phrase goes on after this modifier, also by way of "and" and another modifier."""
        after = index + 1
        while after < len(tags) and tags[after] in ("COMMA", "CC", "RB"):
            after += 1
        joined = after > index + 1
        if after >= len(tags):
            return False
        if not joined:
            return tags[after] in ("JJ", "NN", "NNS", "CD")
        while after < len(tags) and tags[after] in ("JJ", "COMMA", "CC", "RB"):
            after += 1
        return after < len(tags) and tags[after] in _NOUNS and tags[after - 1] == "JJ"

    def _before(self, index: int, skip: str = "") -> str | None:
        """Give the tag before this place, None at the start."""
        place = index - 1
        while place >= 0 and self._tags[place] == skip:
            place -= 1
        return self._tags[place] if place >= 0 else None

    def _next(self, index: int) -> str:
        return self._word[index + 1] if index + 1 < len(self._word) else ""

    def _is_name(self, word: str) -> bool:
        """Tell whether the lexicon has the word as a noun of its own."""
        return bool(self._lexicon.categories(word))

    def _is_form(self, word: str, verbs: frozenset[str]) -> bool:
        return word in verbs or any(base in verbs for base in verb_bases(word))

    def _number_tag(self, word: str) -> str:
        return "NNS" if is_plural(word, self._words) else "NN"
