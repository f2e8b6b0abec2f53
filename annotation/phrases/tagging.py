"""Parts of speech of caption words. Owns the order in which sources are asked, fixed words and the closed classes.

TextBlob's PatternTagger returns the tag that a word has most often in newspapers, which is wrong for words of captions
("sink" and "surf" only as verbs, "next" before "to" as an adjective). It is therefore asked last: closed classes, fixed
words and compounds (the lexicon's and those of ``words.yaml``) come first, and words that are verbs as often as nouns
are decided by the words before them, from left to right.

Tags: DT determiner, CD number or quantifier, RB adverb, JJ modifier, NN and NNS nouns, POS possessive ending, CC
conjunction, IN preposition, PRP pronoun, VB verb of any form, COMMA, STOP any other mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Any

from datasetkit.annotation.lexicon import Lexicon
from datasetkit.annotation.phrases.open_words import tag_open_word
from datasetkit.annotation.phrases.sentence import NOUNS, Sentence
from datasetkit.annotation.phrases.tokens import Token
from datasetkit.annotation.phrases.words import Words

_LONGEST_FIXED = 4
_LOADING = Lock()


def tag_tokens(tokens: Sequence[Token], lexicon: Lexicon, words: Words) -> list[str]:
    """Return one tag for each token."""
    sentence = Sentence(tokens, base_tags(tokens), lexicon, words)
    _mark_fixed(sentence)
    for index, tag in enumerate(sentence.tags):
        if not tag:
            sentence.tags[index] = _closed_tag(sentence, index)
    for index, tag in enumerate(sentence.tags):
        if not tag:
            sentence.tags[index] = tag_open_word(sentence, index)
    _mark_generic_possessors(sentence)
    _promote_modifiers(sentence)
    return sentence.tags


def base_tags(tokens: Sequence[Token]) -> list[str]:
    """Return PatternTagger's tag of each token; marks get STOP."""
    with _LOADING:
        tagger = _pattern_tagger()
    places = [index for index, token in enumerate(tokens) if token.is_word]
    tags = ["STOP"] * len(tokens)
    text = " ".join(tokens[index].word for index in places)
    if text:
        for index, (_, tag) in zip(places, tagger.tag(text, tokenize=False), strict=True):
            tags[index] = tag
    return tags


@cache
def _pattern_tagger() -> Any:
    """Load TextBlob's tagger with its words: a thread that came while another one loads them would read a part."""
    # TextBlob loads all of nltk, which takes seconds, so it is imported only when there is a text to tag.
    from textblob.en.taggers import PatternTagger

    tagger = PatternTagger()
    tagger.tag("a", tokenize=False)
    return tagger


def _mark_fixed(sentence: Sentence) -> None:
    """Tag words that belong together: the longest run that is a fixed expression, a compound or a lexicon entry."""
    index = 0
    while index < len(sentence):
        for length in range(min(_LONGEST_FIXED, len(sentence) - index), 1, -1):
            if _mark_run(sentence, index, length):
                index += length
                break
        else:
            index += 1


def _mark_run(sentence: Sentence, index: int, length: int) -> bool:
    run = sentence.word[index : index + length]
    text = " ".join(run)
    if text in sentence.words.fixed:  # "next to a sink", "in front of a store"
        sentence.tags[index : index + length] = ["IN"] * length
        return True
    plain = " ".join(filter(None, sentence.plain[index : index + length]))
    if " " not in plain or not all(sentence.is_word[index : index + length]):
        return False
    if not _is_compound(sentence, plain) or _is_clause(sentence, index, run):
        return False
    # "a close up of a sandwich": a run that ends in "up" is a noun only where a noun is expected.
    if run[-1] in sentence.words.prepositions and not _noun_due(sentence, index):
        return False
    # "a stop sign", "a hot dog costume"
    sentence.tags[index : index + length] = ["NN"] * (length - 1) + [sentence.noun_tag(run[-1])]
    return True


def _is_compound(sentence: Sentence, plain: str) -> bool:
    if sentence.lexicon.exact_entry(plain) is not None:
        return True
    return plain in sentence.words.compounds or (plain.endswith("s") and plain[:-1] in sentence.words.compounds)


def _is_clause(sentence: Sentence, index: int, run: Sequence[str]) -> bool:
    """Return whether a compound is really a subject and its verb ("the bus stops at a light")."""
    determiner = sentence.word_at(index - 1)
    return (
        len(run) == 2
        and run[1].endswith("s")
        and run[1][:-1] in sentence.words.noun_verbs
        and (determiner == "the" or determiner in sentence.words.singular_determiners)
        and sentence.word_at(index + 2) in sentence.words.prepositions - {"of"}
    )


def _noun_due(sentence: Sentence, index: int) -> bool:
    before, words = sentence.word_at(index - 1), sentence.words
    return any(before in members for members in (words.articles, words.possessives, words.colours, words.adjectives))


def _closed_tag(sentence: Sentence, index: int) -> str:
    """Return the tag of a word of a closed class, "" for any other."""
    word, words = sentence.word[index], sentence.words
    if not sentence.is_word[index]:
        return {",": "COMMA", "&": "CC", "'": _apostrophe(sentence, index)}.get(word, "STOP")
    if word == "'s":  # "a man's hat", "it's a photo"
        return _apostrophe(sentence, index)
    if word == "that":  # "a boy that is holding a kite", "on that chair"
        after_noun = sentence.tag_at(index - 1) in ("", *NOUNS) and sentence.is_open(index - 1)
        return "PRP" if after_noun else "DT"
    if word in words.possessives:  # "her cell phone"; as in "a dog beside her" it is a pronoun
        return "DT" if word != "her" or sentence.goes_on(index) else "PRP"
    if word == "can" and (sentence.tag_at(index - 1) == "DT" or sentence.word_at(index - 1) in words.adjectives):
        return ""  # "barks at a can of paint"
    if word == "can" and _is_container(sentence, index):  # "a trash can next to a dog"
        return "NN"
    # "the opposite side", "lit with overhead lights"
    if word in words.adjective_prepositions and sentence.tag_at(index - 1) in ("DT", "IN") and sentence.goes_on(index):
        return "JJ"
    if word in words.numbers or word[0].isdecimal():
        return "CD"
    classes = (
        ("DT", words.articles),
        ("CD", words.quantifiers),
        ("CC", words.conjunctions),
        ("PRP", words.pronouns),
        ("VB", words.auxiliaries),
        ("IN", words.prepositions),
        ("RB", words.adverbs),
    )
    return next((tag for tag, members in classes if word in members), "")


def _is_container(sentence: Sentence, index: int) -> bool:
    """Distinguish "a trash can next to a dog" from "a dog can jump" by the word after it."""
    words, after = sentence.words, sentence.word_at(index + 1)
    closed = words.prepositions | words.conjunctions | words.auxiliaries - {"be", "do", "have"}
    if after and sentence.is_word[index + 1] and after not in closed and sentence.tag_at(index + 1) != "IN":
        return False
    return sentence.is_open(index - 1) and not sentence.is_name(sentence.word_at(index - 1))


def _apostrophe(sentence: Sentence, index: int) -> str:
    """Distinguish a possessive ending from a shortened "is"."""
    if sentence.tag_at(index - 1) in ("PRP", "DT", "IN") or index == 0:
        return "VB"  # "there's a cake"
    following = sentence.word_at(index + 1)
    if following.endswith("ing") and following not in sentence.words.ing_nouns:
        return "VB"  # "the dog's running"
    return "POS" if sentence.is_open(index + 1) else "VB"  # "a man's hat", "the dog's near a door"


def _mark_generic_possessors(sentence: Sentence) -> None:
    """Make "men's" a modifier in "a men's room": it does not name men."""
    words = sentence.words
    for index in range(1, len(sentence)):
        if sentence.tags[index] != "POS" or sentence.word[index - 1] not in words.generic_possessors:
            continue
        known = sentence.word_at(index - 2) in words.definite_determiners
        if not known or sentence.word_at(index + 1) in words.generic_possessions:
            sentence.tags[index - 1 : index + 1] = ["JJ", "JJ"]


def _promote_modifiers(sentence: Sentence) -> None:
    """Make the last modifier after a determiner a noun where no noun follows ("a remote", "the top of")."""
    words, tags = sentence.words, sentence.tags
    goes_on = _phrase_goes_on(tags)
    start = 0
    for index, tag in enumerate(tags):
        if index == 0 or tags[index - 1] not in ("JJ", "CD", "RB"):
            start = index  # of the run of modifiers that ends here
        if tag not in ("JJ", "RB") or goes_on[index]:
            continue
        word = sentence.word[index]
        listed = tag == "RB" or word in words.colours or word in words.adjectives
        is_noun = not listed or word in words.adjective_nouns or word in words.not_objects
        if (
            is_noun
            and start > 0
            and tags[start - 1] == "DT"
            and sentence.word[index - 1] not in ("all", "both", "that")
        ):
            tags[index] = sentence.noun_tag(word)


def _phrase_goes_on(tags: Sequence[str]) -> list[bool]:
    """Return for each token whether a phrase continues after a modifier there, also by "and" and another modifier."""
    goes_on = [False] * len(tags)
    ends_well = False  # whether the run of modifiers and conjunctions after this token ends as "red car" does
    for index in range(len(tags) - 2, -1, -1):
        after = tags[index + 1]
        if after not in ("COMMA", "CC", "RB", "JJ"):
            ends_well = False
        elif index + 2 < len(tags) and tags[index + 2] in NOUNS:
            ends_well = after == "JJ"
        goes_on[index] = ends_well or after in ("JJ", "NN", "NNS", "CD")
    return goes_on
