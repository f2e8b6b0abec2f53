"""What a noun phrase requires of an image, however the image is known: how many things, and whether they are new.

Owns the reading of numbers, and what makes two mentions distinct.
"""

from __future__ import annotations

from dataclasses import dataclass

from datasetkit.annotation.lexicon import Lexicon
from datasetkit.core.protocols import NounPhrase

# All mentions are resolved together, in time quadratic in their number.
MOST_MENTIONS = 1000


@dataclass(frozen=True, slots=True)
class Mention:
    """A noun phrase that may name things in the image.

    Args:
        name: what it calls them; two mentions with one name may refer to the same things.
        demand: how many things it names; None for all that fit.
        definite: whether it may refer to something named before ("the cat").
        other: whether it names something different from what else is named ("another cat").
        general: whether it covers several kinds of things, which other mentions may name more closely ("an animal").

    """

    name: str
    demand: int | None
    definite: bool
    other: bool
    general: bool

    def is_distinct_from(self, earlier: Mention) -> bool:
        """Return whether it names other things than an earlier mention: "a man and a woman", "another man"."""
        if self.other:
            return True
        return not self.definite and self.name != earlier.name and earlier.demand is not None


def demand_of(phrase: NounPhrase, lexicon: Lexicon) -> int | None:
    """Return how many things a noun phrase names: 2 for "two cars", 0 for "no cars", None for all that fit ("cars")."""
    if phrase.number is not None:
        return phrase.number
    bare = not phrase.definite
    if phrase.plural or lexicon.is_collective(phrase.head) or (bare and lexicon.is_mass(phrase.head)):
        return None  # "cats", "the luggage", "eating pizza"
    return 1  # "the cat", "the pizza"
