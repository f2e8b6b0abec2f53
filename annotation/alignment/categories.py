"""How well noun phrases fit categories. Owns the steps from a lexicon to the numbers that alignment compares.

Also owns how a category that is a phrase is read: "a large blue ring" is a ring, but not one called small or red.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from datasetkit.annotation.alignment.mentions import Mention, demand_of
from datasetkit.annotation.alignment.repeats import content_words
from datasetkit.annotation.lexicon import CategoryName, Lexicon, category_sense, coco_lexicon, normalise
from datasetkit.annotation.phrases.forms import singular
from datasetkit.annotation.phrases.words import english_words
from datasetkit.core.protocols import NO_SYNONYMS, NounPhrase


def read_mention(phrase: NounPhrase, words: str, lexicon: Lexicon) -> Mention | None:
    """Read a noun phrase with all its words, or return None where it can name nothing of the lexicon's categories."""
    named = named_categories(words, lexicon)
    # Known words that no category combines ("a red ring", given blue rings and red stars) still name a thing that may
    # be absent.
    is_known = bool(named or lexicon.categories(phrase.head)) or _is_plain(words, lexicon)
    if not is_known or not phrase.is_object:
        return None
    is_modified = any(lexicon.modifiers.get(category) for category in named)
    entry = lexicon.entry(words)
    name = " ".join(sorted(content_words(words, english_words()))) if is_modified or entry is None else entry
    return Mention(name, demand_of(phrase, lexicon), phrase.definite, phrase.other, general=len(named) > 1)


def named_categories(words: str, lexicon: Lexicon) -> tuple[str, ...]:
    """Return the categories that a noun phrase may name; "a red object" names everything that may be red."""
    if not _is_plain(words, lexicon):
        return lexicon.categories(words)
    said = lexicon.modifiers_said(words)
    return tuple(category for category, modifiers in lexicon.modifiers.items() if said <= modifiers)


def _is_plain(words: str, lexicon: Lexicon) -> bool:
    """Return whether a phrase names its things only by modifiers ("the red object")."""
    noun = singular(normalise(words).split(" ")[-1])
    return noun in english_words().plain_things and bool(lexicon.modifiers_said(words))


def category_fits(words: str, categories: Sequence[str], lexicon: Lexicon) -> list[float]:
    """Compute how well a noun phrase, or its head noun, fits each of some categories, range [0, 1].

    A phrase that names one category fits it with 1 ("a dog"). Of several categories ("an animal"), an earlier one fits
    better than a later one, and at equal rank fewer categories fit better than more: ``1 / (2 + rank - 1 / count)``.
    Categories that were added to the lexicon share the rank after its own; categories that only modifiers name ("the
    red object") are one rank later.
    """
    named = named_categories(words, lexicon)
    last = sum(category not in lexicon.modifiers for category in named)
    base = 3.0 if _is_plain(words, lexicon) else 2.0
    fits = {category: 1.0 / (base + min(place, last) - 1.0 / len(named)) for place, category in enumerate(named)}
    return [fits.get(lexicon.aliases.get(category, category), 0.0) for category in categories]


def near_categories(words: str, categories: Sequence[str], lexicon: Lexicon) -> list[bool]:
    """Return for each of some categories whether people confuse it with one that the noun phrase names."""
    near = {other for named in named_categories(words, lexicon) for other in lexicon.near.get(named, ())}
    return [lexicon.aliases.get(category, category) in near for category in categories]


def is_among(words: str, categories: Sequence[str], lexicon: Lexicon) -> bool:
    """Return whether everything that a noun phrase may name is among some categories."""
    among = {lexicon.aliases.get(category, category) for category in categories}
    named = named_categories(words, lexicon)
    return bool(named) and among.issuperset(named)


def category_of(phrase: NounPhrase) -> str | None:
    """Return the category that a noun phrase names: its head noun, lower case, singular ("Two red circles": "circle").

    None for nouns that name no kind of thing ("four small objects").
    """
    head = normalise(phrase.head)
    noun = coco_lexicon().entry(head) or singular(head)
    return None if noun in english_words().plain_things else noun


def extended(
    lexicon: Lexicon, categories: Iterable[str | None], synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS
) -> Lexicon:
    """Return a lexicon that also knows the given categories that it lacks, by their own words.

    A category whose name is an entry, in any spelling ("aeroplane", "FireHydrants", "diningtable"), becomes an alias of
    the lexicon's category, unless it states another sense ("bat_(animal)"); names that differ only in spelling share
    one category. In any other name, the last word, or the longest noun of the lexicon that ends it, is the noun, and
    its remaining content words are modifiers. Synonyms, by category, name the given categories too.
    """
    aliases: dict[str, str] = {}
    named: dict[str, str] = {}
    homonyms: list[CategoryName] = []
    for category in sorted({category for category in categories if category is not None} - lexicon.known):
        words = lexicon.whole_entry(category)
        own = lexicon.entries.get(words, ())
        if _has_other_sense(category, own, lexicon):
            homonyms.append(CategoryName(category, words, frozenset(), is_homonym=True))
        elif len(own) == 1 and own[0] not in lexicon.modifiers:
            aliases[category] = own[0]
        elif named.setdefault(words, category) != category:
            aliases[category] = named[words]
    names = [_read_category(category, words, lexicon) for words, category in named.items()] + homonyms
    found = lexicon.with_names(names, aliases) if names or aliases else lexicon
    return found.with_synonyms(synonyms) if synonyms else found


def _has_other_sense(category: str, own: Sequence[str], lexicon: Lexicon) -> bool:
    """Return whether a name states a kind ("animal") that none of the categories of its words belongs to."""
    kind = lexicon.categories(category_sense(category))
    return len(kind) > 1 and bool(own) and set(own).isdisjoint(kind)


def _read_category(category: str, said: str, lexicon: Lexicon) -> CategoryName:
    words = english_words()
    noun = lexicon.entry(said) or singular(said.split(" ")[-1])
    counters = words.group_nouns | words.partitives | words.measures
    return CategoryName(category, noun, content_words(said, words) - counters - {*noun.split()})
