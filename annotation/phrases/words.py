"""The word lists of the phrase finder, read from ``words.yaml`` next to this module. Owns nothing but reading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Words:
    """Sets of lower-case words by their role in a noun phrase; ``words.yaml`` explains each of them."""

    articles: frozenset[str]
    possessives: frozenset[str]
    singular_determiners: frozenset[str]
    definite_determiners: frozenset[str]
    other_words: frozenset[str]
    quantifiers: frozenset[str]
    conjunctions: frozenset[str]
    prepositions: frozenset[str]
    adjective_prepositions: frozenset[str]
    clause_openers: frozenset[str]
    pronouns: frozenset[str]
    stands_alone: frozenset[str]
    auxiliaries: frozenset[str]
    modals: frozenset[str]
    copulas: frozenset[str]
    adverbs: frozenset[str]
    degree_adverbs: frozenset[str]
    colours: frozenset[str]
    shades: frozenset[str]
    adjectives: frozenset[str]
    adjective_nouns: frozenset[str]
    predicative: frozenset[str]
    verbs: frozenset[str]
    noun_verbs: frozenset[str]
    irregular_participles: frozenset[str]
    ing_nouns: frozenset[str]
    describing_participles: frozenset[str]
    compound_participles: frozenset[str]
    fixed: frozenset[str]
    compounds: frozenset[str]
    group_nouns: frozenset[str]
    partitives: frozenset[str]
    measures: frozenset[str]
    pair_is_one: frozenset[str]
    zero_plurals: frozenset[str]
    irregular_plurals: frozenset[str]
    singular_s: frozenset[str]
    plural_modifiers: frozenset[str]
    generic_possessors: frozenset[str]
    generic_possessions: frozenset[str]
    not_objects: frozenset[str]
    plain_things: frozenset[str]
    scenes: frozenset[str]
    sports: frozenset[str]
    sport_openers: frozenset[str]
    movers: frozenset[str]
    mover_words: frozenset[str]
    numbers: Mapping[str, int]
    group_sizes: Mapping[str, int]


@cache
def english_words() -> Words:
    """Return the English word lists; the file is read on the first call."""
    text = resources.files("datasetkit.annotation.phrases").joinpath("words.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    mappings = ("numbers", "group_sizes")
    sets = {item.name: frozenset(data[item.name]) for item in fields(Words) if item.name not in mappings}
    return Words(**sets, numbers=data["numbers"], group_sizes=data["group_sizes"])
