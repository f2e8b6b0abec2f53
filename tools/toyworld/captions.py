"""Parsing of plain captions: the objects, by colour and shape, that a text lists. Owns the score of captions."""

from __future__ import annotations

import re
from collections import Counter

from datasetkit.toyworld.domain import Domain
from datasetkit.toyworld.scenes import Combination, Scene

_WORD = re.compile(r"\w+")


def listed_objects(text: str, domain: Domain) -> Counter[Combination]:
    """Count the objects that a caption lists; a noun without a colour, or with two, is not counted."""
    words = domain.vocabulary
    colours = {word: colour for colour, word in words.colours.items()}
    shapes = {word: shape for shape, noun in words.shapes.items() for word in (noun.singular, noun.plural)}
    numbers = {word: number for number, word in enumerate(words.numbers)}
    found: Counter[Combination] = Counter()
    seen: list[str] = []
    for word in _WORD.findall(text.lower()):
        seen.append(word)
        if word in shapes:
            said = [colours[item] for item in seen if item in colours]
            count = next((numbers[item] for item in seen if item in numbers), 1)
            if len(said) == 1:
                found[(said[0], shapes[word])] += count
            seen = []
    return found


def shown_objects(scene: Scene) -> Counter[Combination]:
    """Count the objects of a scene by colour and shape."""
    return Counter((item.colour, item.shape) for item in scene.objects)
