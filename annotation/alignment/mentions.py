"""What a noun phrase asks of a picture: which categories, and how many. Owns the reading of nouns and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from annotation.lexicon import Lexicon
from datasetkit.protocols import NounPhrase


@dataclass(frozen=True, slots=True)
class Mention:
    """A noun phrase that may name things of known categories.

    Args:
        entry: the lexicon's entry for its head; two mentions with one entry use the same noun.
        categories: what it may name, the likeliest first.
        near: categories that people take for those, asked where the picture has none of those.
        demand: how many things it names; None for all that there are.
        definite: whether it may speak of something named before.
        other: whether it names something beside what else is named.

    """

    entry: str
    categories: tuple[str, ...]
    near: tuple[str, ...]
    demand: int | None
    definite: bool
    other: bool

    def distance(self, category: str) -> tuple[int, int]:
        """Rank how far the noun is from one of its categories: by its place among them, then by how many there are."""
        return self.categories.index(category), len(self.categories)

    def is_distinct_from(self, earlier: Mention) -> bool:
        """Tell whether it names other things than an earlier mention: "a man and a woman", "another man"."""
        if self.other:
            return True
        return not self.definite and self.entry != earlier.entry and earlier.demand is not None


def read_mention(phrase: NounPhrase, lexicon: Lexicon) -> Mention | None:
    """Read a noun phrase, or give None where it can name nothing of the lexicon's categories."""
    entry = lexicon.entry(phrase.head)
    categories = lexicon.categories(phrase.head)
    if entry is None or not categories or not phrase.is_object:
        return None
    near = tuple(other for category in categories for other in lexicon.near.get(category, ()))
    return Mention(entry, categories, near, _demand(phrase, lexicon), phrase.definite, phrase.other)


def _demand(phrase: NounPhrase, lexicon: Lexicon) -> int | None:
    if phrase.number is not None:
        return phrase.number
    bare = not phrase.definite
    if phrase.plural or lexicon.is_collective(phrase.head) or (bare and lexicon.is_mass(phrase.head)):
        return None
    return 1


def extended(lexicon: Lexicon, categories: Iterable[str | None]) -> Lexicon:
    """Give a lexicon that also knows the categories that it lacks, by their own names."""
    known = {category for names in lexicon.entries.values() for category in names}
    missing = sorted({category for category in categories if category is not None} - known)
    return lexicon.with_names(missing) if missing else lexicon
