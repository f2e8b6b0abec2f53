"""How well nouns fit categories. Owns the way from a lexicon to the numbers that alignment weighs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from annotation.alignment.mentions import Mention, demand_of
from annotation.lexicon import Lexicon
from datasetkit.protocols import NounPhrase


def read_mention(phrase: NounPhrase, lexicon: Lexicon) -> Mention | None:
    """Read a noun phrase, or give None where it can name nothing of the lexicon's categories."""
    entry = lexicon.entry(phrase.head)
    categories = lexicon.categories(phrase.head)
    if entry is None or not categories or not phrase.is_object:
        return None
    return Mention(entry, demand_of(phrase, lexicon), phrase.definite, phrase.other, general=len(categories) > 1)


def category_fits(head: str, categories: Sequence[str], lexicon: Lexicon) -> list[float]:
    """Say how well a head noun fits each of some categories, range [0, 1].

    A noun of one category fits it with 1. Of several categories, an earlier one fits better than a later one; at equal
    places, fewer categories fit better than more: ``1 / (2 + place - 1 / count)``.
    """
    own = lexicon.categories(head)
    fits = {category: 1.0 / (2.0 + place - 1.0 / len(own)) for place, category in enumerate(own)}
    return [fits.get(category, 0.0) for category in categories]


def near_categories(head: str, categories: Sequence[str], lexicon: Lexicon) -> list[bool]:
    """Tell of each of some categories whether people take it for one that the head noun names."""
    near = {other for own in lexicon.categories(head) for other in lexicon.near.get(own, ())}
    return [category in near for category in categories]


def extended(lexicon: Lexicon, categories: Iterable[str | None]) -> Lexicon:
    """Give a lexicon that also knows the categories that it lacks, by their own names."""
    known = {category for names in lexicon.entries.values() for category in names}
    missing = sorted({category for category in categories if category is not None} - known)
    return lexicon.with_names(missing) if missing else lexicon
