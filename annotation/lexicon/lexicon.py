"""From a head noun to the categories that it may name.

Owns the reading of lexicon files (``coco.yaml`` beside this module) and the look-up. Words are compared whole: the
longest entry that ends the head decides, so "teddy bear" is no bear and "toilet paper" is nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

_NOT_WORD = re.compile(r"[^\w']+")


def normalise(text: str) -> str:
    """Write words as lexicon entries do: lower case, single spaces, no hyphens, full stops or possessive endings."""
    plain = text.casefold().replace("\u2019", "'").replace(".", "")
    words = _NOT_WORD.sub(" ", plain).split()
    return " ".join(filter(None, (word.removesuffix("'s").strip("'") for word in words)))


def singular_forms(word: str, irregular: Mapping[str, str]) -> Iterator[str]:
    """Give the words whose plural ``word`` may be, the likeliest first; the look-up tells which exists.

    Args:
        word: one lower-case word.
        irregular: plurals that no rule gives.

    """
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
class Lexicon:
    """The words of one set of categories. Make it with :meth:`from_mapping` or :func:`coco_lexicon`.

    Args:
        entries: normalised words and the categories that they may name, the likeliest first; a compound that names
            none has an empty tuple.
        plurals: irregular plurals and their singulars.
        groups: entries that name several things though singular ("crowd").
        collective: entries that name everything of their kind, in singular form, where no number is given ("luggage").
        sizes: entries that name a known number of things.
        near: categories that people take for the one given.
        mass: entries that are stuff rather than things where no determiner stands before them.

    """

    entries: Mapping[str, tuple[str, ...]]
    plurals: Mapping[str, str]
    groups: frozenset[str]
    collective: frozenset[str]
    sizes: Mapping[str, int]
    mass: frozenset[str]
    near: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Lexicon:
        """Build a lexicon from the content of a lexicon file.

        Raises:
            ValueError: a word is entered twice, or a list names something that is no entry.

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
                raise ValueError(f"lexicon word {word!r} is entered twice; give it once")
            if word != normalise(word):
                raise ValueError(f"lexicon word {word!r} must be written as {normalise(word)!r}")
            entries[word] = categories
        unknown = {category for categories in hypernyms.values() for category in categories} - set(names)
        unknown |= {category for pair in data["near"].items() for category in (pair[0], *pair[1])} - set(names)
        unknown |= {*data["groups"], *data["collective"], *data["sizes"], *data["mass"]} - set(entries)
        if unknown:
            raise ValueError(f"the lexicon speaks of {sorted(unknown)}, which it does not define")
        return cls(
            entries,
            plurals=dict(data["plurals"]),
            groups=frozenset(data["groups"]),
            collective=frozenset(data["collective"]),
            sizes=dict(data["sizes"]),
            mass=frozenset(data["mass"]),
            near={category: tuple(others) for category, others in data["near"].items()},
        )

    def with_names(self, categories: Iterable[str]) -> Lexicon:
        """Give a lexicon that also knows these categories, each by its own name; words that it has stay as they are."""
        added = {normalise(category): (category,) for category in categories}
        return replace(self, entries={**added, **self.entries})

    def entry(self, head: str) -> str | None:
        """Give the longest entry that ends ``head`` ("a red fire hydrant" gives "fire hydrant"), or None."""
        words = normalise(head).split()
        for start in range(len(words)):
            prefix = words[start:-1]
            for last in (words[-1], *singular_forms(words[-1], self.plurals)):
                candidate = " ".join((*prefix, last))
                if candidate in self.entries:
                    return candidate
        return None

    def categories(self, head: str) -> tuple[str, ...]:
        """Give the categories that a head noun may name, the likeliest first; empty where it names none."""
        entry = self.entry(head)
        return self.entries[entry] if entry is not None else ()

    def is_group(self, head: str) -> bool:
        """Tell whether the head names several things though singular ("crowd")."""
        return self.entry(head) in self.groups

    def is_collective(self, head: str) -> bool:
        """Tell whether the head, in singular form, names everything of its kind ("luggage")."""
        return self.entry(head) in self.collective

    def is_mass(self, head: str) -> bool:
        """Tell whether the head is stuff rather than a thing where it has no determiner ("pizza")."""
        return self.entry(head) in self.mass

    def size(self, head: str) -> int | None:
        """Give how many things the head names by itself (two for "couple"), or None where it does not say."""
        entry = self.entry(head)
        return self.sizes.get(entry) if entry is not None else None


@cache
def coco_lexicon() -> Lexicon:
    """Give the lexicon of COCO's 80 categories; the file is read at the first call."""
    text = resources.files("annotation.lexicon").joinpath("coco.yaml").read_text(encoding="utf-8")
    return Lexicon.from_mapping(yaml.safe_load(text))
