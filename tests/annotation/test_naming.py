"""What texts name, checked by hand and on toyworld's scenes, for texts that are true of the image and for others."""

from __future__ import annotations

import pytest

from datasetkit.annotation.naming import KnownObjectNamer
from datasetkit.core.protocols import Naming, ObjectNamer
from datasetkit.core.record import Record
from datasetkit.options import ToyworldOptions
from datasetkit.sources.toyworld import ToyworldSource
from datasetkit.toyworld.domain import BASE, SHIFTED, Domain
from datasetkit.toyworld.scenes import ALL_COMBINATIONS
from tests.annotation.scenes import record

KNOWN = ("red star", "blue star", "red ring", "green cross")

# (text, categories of objects 0, 1, ...; phrases present, phrases absent, objects named)
TABLE: list[tuple[str, str, list[str], list[str], list[int]]] = [
    ("The image shows a red star.", "red star, blue star", ["a red star"], [], [0]),
    ("See one red star and one ring.", "red star, blue star", ["one red star"], ["one ring"], [0]),
    ("A green star and a red cross.", "red star, green cross", [], ["A green star", "a red cross"], []),
    ("A castle by the sea. It is large.", "red star", [], [], []),
    ("There is no red ring here, but a dog.", "red ring", [], ["a dog"], []),
    ("Two stars and another star.", "red star, blue star", ["Two stars"], ["another star"], [0, 1]),
    ("Three stars.", "red star, blue star", ["Three stars"], [], [0, 1]),
    ("Stars.", "red star, red ring, blue star", ["Stars"], [], [0, 2]),
    ("A man and a cat.", "person, dog", ["A man"], ["a cat"], [0]),
    ("", "red star", [], [], []),
    ("A red star.", "", [], ["A red star"], []),
]
# Texts that leave open which objects they name; every object fits. (text, number of objects, how many are named)
COUNTED = [
    ("a ring", 2, 1),
    ("a ring and a ring and a ring", 2, 1),
    ("a ring. The ring is large", 2, 1),
    ("two rings", 3, 2),
    ("two rings. The rings are large", 3, 2),
    ("a large ring and a small ring", 2, 2),
    ("a large ring and a small ring, a large ring and a small ring", 3, 2),
    ("a large ring and a small ring", 1, 1),
    ("two large rings and a small ring", 4, 3),
    ("a ring and another ring", 3, 2),
]


@pytest.fixture(scope="module")
def namer() -> ObjectNamer:
    return KnownObjectNamer([*KNOWN, None])


@pytest.mark.parametrize(("text", "categories", "present", "absent", "ids"), TABLE)
def test_named(
    namer: ObjectNamer, text: str, categories: str, present: list[str], absent: list[str], ids: list[int]
) -> None:
    assert namer.name(text, record(None, categories).objects) == Naming(tuple(present), tuple(absent), frozenset(ids))


@pytest.mark.parametrize(("text", "count", "named"), COUNTED)
def test_ambiguous_phrases_name_their_number(namer: ObjectNamer, text: str, count: int, named: int) -> None:
    naming = namer.name(text, record(None, ", ".join(["red ring"] * count)).objects)
    assert (len(naming.object_ids), naming.absent) == (named, ())
    assert naming.present


def test_repetition_names_the_same_object(namer: ObjectNamer) -> None:
    for first in (0, 1):
        text = f"A {('red', 'blue')[first]} star. The star shines"
        assert namer.name(text, record(None, "red star, blue star").objects).object_ids == {first}


def scenes(domain: Domain) -> list[Record]:
    source = ToyworldSource(ToyworldOptions(count=30, scene_split="test", size_px=128, domain=domain.name))
    return [source.read(entry).record for entry in source.entries()]


@pytest.mark.parametrize("domain", [BASE, SHIFTED], ids=lambda domain: domain.name)
def test_toyworld(domain: Domain) -> None:
    """A scene's own description has nothing absent; another scene's description has what the scene lacks."""
    words = domain.vocabulary
    names = {(words.colours[colour], words.shapes[shape].singular) for colour, shape in ALL_COMBINATIONS}
    namer = KnownObjectNamer(map(" ".join, names))
    records = scenes(domain)
    keys = named = absent = 0
    for scene, other in zip(records, [*records[1:], records[0]], strict=True):
        own = namer.name(scene.description or "", scene.objects)
        assert own.absent == ()
        keys += len(scene.key_objects)
        named += len(own.object_ids & {item.id for item in scene.key_objects})
        foreign = namer.name(other.description or "", scene.objects)
        there = {item.category or "" for item in scene.objects}
        for phrase in foreign.present:
            assert any(_fits(phrase, category, names) for category in there), (phrase, there)
        absent += len(foreign.absent)
        missing = {phrase.text for phrase in other.phrases if _is_missing(phrase.text, there, names)}
        assert missing <= set(foreign.absent)
    assert named / keys > 0.9
    assert absent > len(records)


def _fits(phrase: str, category: str, names: set[tuple[str, str]]) -> bool:
    """Return whether a phrase's colour and shape, as far as it mentions them, are those of a category."""
    said, (own_colour, own_shape) = phrase.casefold().split(), category.split()
    colours = {colour for colour, _ in names}.intersection(said)
    shapes = {shape for _, shape in names if said[-1] in (shape, f"{shape}s", f"{shape}es")}
    return colours <= {own_colour} and shapes <= {own_shape}


def _is_missing(phrase: str, there: set[str], names: set[tuple[str, str]]) -> bool:
    """Return whether a phrase mentions a colour or a shape and no category has them."""
    return any(_fits(phrase, " ".join(name), names) for name in names) and not any(
        _fits(phrase, category, names) for category in there
    )
