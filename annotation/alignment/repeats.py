"""Noun phrases that refer to an earlier one again ("a black cat ... the cat"), as far as the words show.

Owns the comparison of words; the image is not used.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from datasetkit.annotation.alignment.mentions import Mention
from datasetkit.annotation.lexicon import normalise
from datasetkit.annotation.phrases.forms import singular
from datasetkit.annotation.phrases.words import Words


def content_words(phrase: str, words: Words) -> frozenset[str]:
    """Return the content words of a noun phrase: without determiners, numbers and plain nouns such as "object"."""
    said = normalise(phrase).split()
    said[-1:] = map(singular, said[-1:])
    closed: tuple[Container[str], ...] = (words.articles, words.possessives, words.quantifiers, words.other_words)
    closed += (words.plain_things, words.numbers, words.prepositions)
    return frozenset(word for word in said if not (word.isdecimal() or any(word in some for some in closed)))


def find_repeats(mentions: Sequence[Mention | None], contents: Sequence[frozenset[str]]) -> list[int | None]:
    """Find for each mention the first one that refers to the same things; None where it is itself the first.

    A definite mention repeats an earlier one of the same number if all its content words are in that one, and in no
    other earlier one: "the cat" repeats "a black cat", but after "a black cat and a white cat" it repeats neither.

    Args:
        mentions: in order; None for phrases that name nothing.
        contents: content words of each.

    """
    firsts: list[int | None] = []
    for index, mention in enumerate(mentions):
        earlier = [
            place
            for place in range(index)
            if mention is not None
            and firsts[place] is None
            and _may_repeat(mention, mentions[place])
            and contents[index] <= contents[place]
        ]
        firsts.append(earlier[0] if len(earlier) == 1 else None)
    return firsts


def _may_repeat(mention: Mention, earlier: Mention | None) -> bool:
    """Return whether determiners and numbers allow a repetition."""
    if earlier is None or not mention.definite or mention.other or earlier.demand == 0:
        return False  # "a cat", "the other cat", "the cars" after "no cars"
    if mention.demand == earlier.demand:
        return True  # "the cat" after "a cat", "the two cats" after "two cats"
    # "the cats" after "two cats" and "the two cats" after "cats", but not "the cat" after "cats"
    return None in (mention.demand, earlier.demand) and 1 not in (mention.demand, earlier.demand)
