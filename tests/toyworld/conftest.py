"""An independent reader of toyworld's texts: parses a noun phrase and looks its objects up, one object at a time."""

from __future__ import annotations

import re

import pytest

from datasetkit.toyworld.domain import Domain
from datasetkit.toyworld.scenes import Scene

DETERMINERS = {"a", "an", "the"}


class Reader:
    """Reads texts back; shares no code with the writers."""

    @staticmethod
    def named_objects(phrase: str, scene: Scene, domain: Domain) -> tuple[tuple[int, ...], int | None, bool]:
        """Parse a noun phrase.

        Returns:
            Ids of all objects of the scene that fit its words, the number of things that it names (None if it names
            several without a number), and whether it is plural.

        """
        words = phrase.lower().split()
        numbers = {word: number for number, word in enumerate(domain.vocabulary.numbers)}
        claimed: int | None = None
        article = None
        while words[0] in DETERMINERS or words[0] in numbers:
            word = words.pop(0)
            if word in numbers:
                claimed = numbers[word]
            else:
                article = word
        if article in ("a", "an"):
            assert (article == "an") == (words[0][0] in "aeiou"), phrase
            claimed = 1
        *adjectives, noun = words
        singulars = {item.singular: shape for shape, item in domain.vocabulary.shapes.items()}
        plurals = {item.plural: shape for shape, item in domain.vocabulary.shapes.items()}
        thing = domain.vocabulary.thing
        plural = noun in plurals or noun == thing.plural
        shape = {**singulars, **plurals, thing.singular: None, thing.plural: None}[noun]
        colours = {word: colour for colour, word in domain.vocabulary.colours.items()}
        sizes = {word: size for size, word in domain.vocabulary.sizes.items()}
        found = []
        for index, item in enumerate(scene.objects):
            fits = shape is None or item.shape == shape
            for word in adjectives:
                fits = fits and (item.colour == colours[word] if word in colours else item.size == sizes[word])
            if fits:
                found.append(index)
        if not plural:
            claimed = 1
        return tuple(found), claimed, plural

    @staticmethod
    def relation_named(words: str, domain: Domain) -> str | None:
        """Return the relation that the words express, or None."""
        bare = re.sub(r"^(is|are)\b|\balso\b", "", words.strip()).strip()
        bare = re.sub(r"^(is|are)\b", "", bare).strip()
        for relation, wordings in domain.vocabulary.relations.items():
            if bare in wordings:
                return relation.value
        return None

    @staticmethod
    def holds(relation: str, first: int, second: int, scene: Scene) -> bool:
        """Return whether a relation holds, from the centres and the order of the objects."""
        one, two = scene.objects[first], scene.objects[second]
        side = min(scene.config.canvas_hw)
        dx, dy = (two.x - one.x) / side, (two.y - one.y) / side
        distance = (dx**2 + dy**2) ** 0.5 * side
        return {
            "left": dx >= 0.14 and dx >= abs(dy),
            "right": -dx >= 0.14 and -dx >= abs(dy),
            "above": dy >= 0.14 and dy > abs(dx),
            "below": -dy >= 0.14 and -dy > abs(dx),
            "next_to": one.extent + two.extent <= distance <= one.extent + two.extent + 0.08 * side,
            "in_front": first > second and distance < one.extent + two.extent,
            "behind": first < second and distance < one.extent + two.extent,
        }[relation]


@pytest.fixture(scope="session")
def reader() -> type[Reader]:
    return Reader
