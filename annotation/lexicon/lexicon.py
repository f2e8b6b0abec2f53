"""From a head noun to the categories that it may name.

Owns the reading of lexicon files (``coco.yaml`` next to this module) and the look-up. Words are compared as a whole:
the longest entry that ends the head decides, so "teddy bear" is not a bear and "toilet paper" is nothing.

The lexicon's original categories are nouns. Categories that are added to it may have modifiers: "red star" is any star
unless the words contradict that.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import yaml

_NOT_WORD = re.compile(r"[^\w']+")
_PARENTHESES = re.compile(r"\(([^()]*)\)")
# What distinguishes words of one spelling: mouse_(computer_equipment), dog.n.01.
_SENSE = re.compile(r"\([^()]*\)|(?<=\w)\.[nvars]\.\d+\Z")
# Where words are joined: pottedPlant, TVMonitor (but neither TVs nor McDonald), vehicle.car, street_sign.
_SEAM = re.compile(r"_+|(?<=[a-z]{2})(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})|(?<=[A-Za-z]{2})\.(?=[A-Za-z]{2})")
_NUMBER = re.compile(r"(?<=[a-z]) (?:\d+ ?)+\Z|(?<=[a-z]{3})\d+\Z")
# Descriptions repeat their words, so results of look-ups are kept, but only of texts that are short.
_MOST_KEPT = 2**14
_LONGEST_KEPT = 64


def normalise(text: str) -> str:
    """Normalise words to lexicon spelling: lower case, single spaces, no hyphens, full stops or possessive endings.

    Each word is normalised by itself, whatever is next to it.
    """
    return _normalised(text) if len(text) <= _LONGEST_KEPT else _normalised.__wrapped__(text)


@lru_cache(_MOST_KEPT)
def _normalised(text: str) -> str:
    plain = text.casefold().replace("\u2019", "'").replace(".", "")
    words = _NOT_WORD.sub(" ", plain).split()
    return " ".join(filter(None, (word.removesuffix("'s").strip("'") for word in words)))


def category_words(category: str) -> str:
    """Normalise a category name of a labelling tool: no underscores, CamelCase, number, or sense.

    >>> category_words("mouse_(computer_equipment)"), category_words("PottedPlant"), category_words("dog_1")
    ('mouse', 'potted plant', 'dog')
    """
    words = normalise(_SEAM.sub(" ", _SENSE.sub(" ", category)))
    return _NUMBER.sub("", words) or normalise(category)


def category_sense(category: str) -> str:
    """Normalise the text in parentheses of a category's name; "" if there is none.

    >>> category_sense("bat_(animal)")
    'animal'
    """
    return normalise(_SEAM.sub(" ", " ".join(_PARENTHESES.findall(category))))


def singular_forms(word: str, irregular: Mapping[str, str]) -> Iterator[str]:
    """Yield the possible singulars of a lower-case word, the likeliest first; the look-up decides which one exists."""
    if word in irregular:
        yield irregular[word]
    if word.endswith("ies") and len(word) > 4:
        yield word[:-3] + "y"
    if word.endswith("ves"):
        yield word[:-3] + "f"
        yield word[:-3] + "fe"
    if word.endswith("s") and not word.endswith("ss") and len(word) > 2:
        yield word[:-1]
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        yield word[:-2]


@dataclass(frozen=True, slots=True)
class CategoryName:
    """The words of a category that a lexicon lacks.

    Args:
        category: the category, as objects have it.
        noun: a normalised noun in singular form ("ring" for "large blue ring").
        modifiers: the normalised words that distinguish such things from others ("large" and "blue"); none for "ring".
        is_homonym: whether the noun means another thing elsewhere in the lexicon ("bat" for "bat_(animal)").

    """

    category: str
    noun: str
    modifiers: frozenset[str]
    is_homonym: bool = False


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words of one set of categories. Create it with :meth:`from_mapping` or :func:`coco_lexicon`.

    Args:
        entries: normalised words and the categories that they may name, the likeliest first; a compound that names
            none has an empty tuple.
        plurals: irregular plurals and their singulars.
        groups: entries that name several things though they are singular ("crowd").
        collective: entries that, in singular form and without a number, name everything of their kind ("luggage").
        sizes: entries that name a known number of things.
        near: for each category, those that people confuse with it.
        mass: entries that name a substance rather than things if no determiner precedes them.
        modifiers: added categories and the words that distinguish their things from others of the same noun.
        modifier_words: all of these words.
        run_together: entries by their letters without blanks ("diningtable").
        longest: number of words of the longest entry.
        aliases: other names of categories, as objects may have them, and the categories that they stand for
            ("TVMonitor").
        known: all categories and aliases.

    """

    entries: Mapping[str, tuple[str, ...]]
    plurals: Mapping[str, str]
    groups: frozenset[str]
    collective: frozenset[str]
    sizes: Mapping[str, int]
    mass: frozenset[str]
    near: Mapping[str, tuple[str, ...]]
    modifiers: Mapping[str, frozenset[str]]
    modifier_words: frozenset[str]
    run_together: Mapping[str, str]
    aliases: Mapping[str, str]
    known: frozenset[str]
    longest: int
    _found: dict[str, str | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Lexicon:
        """Build a lexicon from the content of a lexicon file.

        Raises:
            ValueError: a word is entered twice, or a list contains a word that is not an entry.

        """
        names, hypernyms = data["names"], data["hypernyms"]
        pairs: list[tuple[str, tuple[str, ...]]] = [
            (word, (category,)) for category, words in names.items() for word in words
        ]
        pairs += [(word, tuple(categories)) for word, categories in hypernyms.items()]
        pairs += [(word, ()) for word in data["none"]]
        entries: dict[str, tuple[str, ...]] = {}
        for word, categories in pairs:
            if word in entries:
                raise ValueError(f"lexicon word {word!r} is entered twice; enter it once")
            if word != normalise(word):
                raise ValueError(f"lexicon word {word!r} must be written as {normalise(word)!r}")
            entries[word] = categories
        unknown = {category for categories in hypernyms.values() for category in categories} - set(names)
        unknown |= {category for pair in data["near"].items() for category in (pair[0], *pair[1])} - set(names)
        unknown |= {*data["groups"], *data["collective"], *data["sizes"], *data["mass"]} - set(entries)
        if unknown:
            raise ValueError(f"the lexicon lists {sorted(unknown)}, which are not among its entries")
        return cls(
            entries,
            plurals=dict(data["plurals"]),
            groups=frozenset(data["groups"]),
            collective=frozenset(data["collective"]),
            sizes=dict(data["sizes"]),
            mass=frozenset(data["mass"]),
            near={category: tuple(others) for category, others in data["near"].items()},
            modifiers={},
            modifier_words=frozenset(),
            run_together={word.replace(" ", ""): word for word in entries},
            aliases={},
            known=frozenset().union(*entries.values()),
            longest=max(map(_count_words, entries), default=0),
        )

    def with_names(self, names: Iterable[CategoryName], aliases: Mapping[str, str]) -> Lexicon:
        """Return a lexicon that also knows these categories, and other names for some of its own.

        Nouns that name at least the same categories as an added category's noun name that category too: "kitten" and
        "animal" may name a "black cat", since they may name a cat. A homonym is named only by its noun: a baseball bat
        is not a "bat_(animal)".
        """
        modifiers = dict(self.modifiers)
        added: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for name in names:
            modifiers[name.category] = name.modifiers
            added[name.noun, name.is_homonym].append(name.category)
        entries = dict(self.entries)
        for (noun, is_homonym), categories in added.items():
            own = frozenset() if is_homonym else frozenset(self.entries.get(noun, ()))
            wider = [word for word, others in self.entries.items() if own and own.issubset(others)]
            for word in wider or [noun]:
                entries[word] = (*entries.get(word, ()), *categories)
        return replace(
            self,
            entries=entries,
            modifiers=modifiers,
            modifier_words=frozenset().union(*modifiers.values()),
            aliases={**self.aliases, **aliases},
            known=self.known.union(modifiers, aliases),
            longest=max((self.longest, *(_count_words(noun) for noun, _ in added))),
        )

    def with_synonyms(self, synonyms: Mapping[str, Iterable[str]]) -> Lexicon:
        """Return a lexicon with further words for categories that it knows, in any spelling ("computer_mouse")."""
        entries = dict(self.entries)
        for category, words in synonyms.items():
            own = self.aliases.get(category, category)
            for entry in map(self.whole_entry, words) if own in self.known else ():
                if own not in entries.get(entry, ()):
                    entries[entry] = (*entries.get(entry, ()), own)
        return replace(self, entries=entries, longest=max(map(_count_words, entries), default=0))

    def whole_entry(self, category: str) -> str:
        """Return the entry that equals a category's name ("TVMonitors": "tv monitor"), otherwise its words."""
        words = category_words(category)
        if (entry := self.exact_entry(words)) is not None:
            return entry
        together = words.replace(" ", "")
        forms = (together, *singular_forms(together, self.plurals))
        return next((self.run_together[form] for form in forms if form in self.run_together), words)

    def entry(self, head: str) -> str | None:
        """Return the longest entry that ends ``head`` ("a red fire hydrant": "fire hydrant"), or None."""
        entry = self._found.get(head, "")
        if entry == "":  # it has not been looked up yet
            words = normalise(head).split()
            starts = range(max(0, len(words) - self.longest), len(words))
            entry = next(filter(None, (self.exact_entry(" ".join(words[start:])) for start in starts)), None)
            if len(head) <= _LONGEST_KEPT:
                if len(self._found) >= _MOST_KEPT:
                    self._found.clear()
                self._found[head] = entry
        return entry

    def exact_entry(self, words: str) -> str | None:
        """Return the entry that normalised words are, in singular or plural form ("fire hydrants"), or None."""
        others, blank, last = words.rpartition(" ")
        candidates = (f"{others}{blank}{form}" for form in (last, *singular_forms(last, self.plurals)))
        return next((candidate for candidate in candidates if candidate in self.entries), None)

    def categories(self, words: str) -> tuple[str, ...]:
        """Return the categories that a head noun, or a whole noun phrase, may name; empty where it names none.

        The likeliest of the lexicon's original categories come first, added ones after them. A modifier before the noun
        excludes the added categories that it contradicts: "a red star" is not a "blue star". It excludes a category
        without modifiers only if another category of that noun has the modifier: if there is a "red star", "a red star"
        is not a plain "star".
        """
        entry = self.entry(words)
        if entry is None:
            return ()
        named, said = self.entries[entry], self.modifiers_said(words, noun_words=entry.count(" ") + 1)
        return tuple(category for category in named if not self._is_contradicted(category, said, named))

    def _is_contradicted(self, category: str, said: frozenset[str], named: tuple[str, ...]) -> bool:
        """Return whether the modifiers in a text exclude one of the categories that a noun names."""
        own = self.modifiers.get(category)
        if own is None:
            return False
        if own:
            return not said <= own
        return any(not said.isdisjoint(self.modifiers.get(other, ())) for other in named)

    def modifiers_said(self, words: str, noun_words: int = 1) -> frozenset[str]:
        """Return the words before a phrase's noun that are modifiers of any category."""
        return self.modifier_words.intersection(normalise(words).split()[:-noun_words])

    def is_group(self, head: str) -> bool:
        """Return whether the head names several things though it is singular ("crowd")."""
        return self.entry(head) in self.groups

    def is_collective(self, head: str) -> bool:
        """Return whether the head, in singular form, names everything of its kind ("luggage")."""
        return self.entry(head) in self.collective

    def is_mass(self, head: str) -> bool:
        """Return whether the head without a determiner is a substance rather than a thing ("pizza")."""
        return self.entry(head) in self.mass

    def size(self, head: str) -> int | None:
        """Return how many things the head names by itself (two for "couple"), or None where it does not say."""
        entry = self.entry(head)
        return self.sizes.get(entry) if entry is not None else None


def _count_words(entry: str) -> int:
    return entry.count(" ") + 1


@cache
def coco_lexicon() -> Lexicon:
    """Return the lexicon of COCO's 80 categories; the file is read on the first call."""
    text = resources.files("datasetkit.annotation.lexicon").joinpath("coco.yaml").read_text(encoding="utf-8")
    return Lexicon.from_mapping(yaml.safe_load(text))
