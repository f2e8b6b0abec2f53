"""Noun phrases that take up an earlier one again ("a black cat ... the cat"), as far as words show it.

Owns the comparison of words; what an image shows plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence

from datasetkit.annotation.alignment.mentions import Mention
from datasetkit.annotation.lexicon import normalise
from datasetkit.annotation.phrases.forms import singular
from datasetkit.annotation.phrases.words import Words


def content_words(phrase: str, words: Words) -> frozenset[str]:
    """Give what a noun phrase says of its things: its words less determiners, numbers and nouns like "object"."""
    said = normalise(phrase).split()
    said[-1:] = map(singular, said[-1:])
    lists = (words.articles, words.possessives, words.quantifiers, words.other_words, words.plain_things)
    closed = {*words.numbers, *words.prepositions}.union(*lists)
    return frozenset(word for word in said if word not in closed and not word.isdecimal())


def find_repeats(mentions: Sequence[Mention | None], contents: Sequence[frozenset[str]]) -> list[int | None]:
    """Find for each mention the first one that speaks of the same things; None where it is itself the first.

    A definite mention repeats an earlier one of the same number if it says nothing that this did not say, and no other
    earlier one does for it as well.

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
    """Tell whether determiners and numbers allow it: "the two", "the" after "two", "the two" after a plural."""
    if earlier is None or not mention.definite or mention.other or earlier.demand == 0:
        return False
    if mention.demand == earlier.demand:
        return True
    return None in (mention.demand, earlier.demand) and 1 not in (mention.demand, earlier.demand)
