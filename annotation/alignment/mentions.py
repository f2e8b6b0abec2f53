"""What a noun phrase asks of an image, whatever the image is known by: how many things, old ones or new ones.

Owns the reading of numbers and of what sets two mentions apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from datasetkit.annotation.lexicon import Lexicon
from datasetkit.core.protocols import NounPhrase

# What mentions name is decided for all of them together, in time in the square of their number.
MOST_MENTIONS = 1000


@dataclass(frozen=True, slots=True)
class Mention:
    """A noun phrase that may name things in the image.

    Args:
        name: what it calls them; two mentions with one name may speak of the same things.
        demand: how many things it names; None for all that fit.
        definite: whether it may speak of something named before.
        other: whether it names something beside what else is named.
        general: whether it takes in several kinds of things, which other mentions may name more closely.

    """

    name: str
    demand: int | None
    definite: bool
    other: bool
    general: bool

    def is_distinct_from(self, earlier: Mention) -> bool:
        """Tell whether it names other things than an earlier mention: "a man and a woman", "another man"."""
        if self.other:
            return True
        return not self.definite and self.name != earlier.name and earlier.demand is not None


def demand_of(phrase: NounPhrase, lexicon: Lexicon) -> int | None:
    """Give how many things a noun phrase names, 0 for "no cars", or None for all that fit."""
    if phrase.number is not None:
        return phrase.number
    bare = not phrase.definite
    if phrase.plural or lexicon.is_collective(phrase.head) or (bare and lexicon.is_mass(phrase.head)):
        return None
    return 1
