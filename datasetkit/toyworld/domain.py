"""Domains: which words name what, and how captions and questions are phrased. Owns every word, as data.

The shifted domain is for tuning experiments. It shows the same objects on other backgrounds, writes in another style
and renames every colour and every shape to the name of another. A model of the base domain therefore knows each word,
with a trained embedding, but has to learn its new meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from datasetkit.toyworld.referring import Attributes, Relation
from datasetkit.toyworld.scenes import BASE_BACKGROUNDS, BackgroundKind, Colour, Scene, SceneConfig, Size
from datasetkit.toyworld.shapes import Shape


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun in both numbers."""

    singular: str
    plural: str


@dataclass(frozen=True)
class Vocabulary:
    """Words for what is in a scene: numbers from 0 to the maximum number of objects, several wordings per relation.

    ``thing`` is the noun for an object whose shape is not mentioned.
    """

    colours: Mapping[Colour, str]
    shapes: Mapping[Shape, Noun]
    sizes: Mapping[Size, str]
    thing: Noun
    numbers: tuple[str, ...]
    relations: Mapping[Relation, tuple[str, ...]]


@dataclass(frozen=True)
class CaptionStyle:
    """How descriptions are phrased.

    In templates ``{list}`` stands for phrases of things not mentioned before, joined; ``{a}`` and ``{b}`` for one
    phrase each; ``{it}`` for a pronoun that refers to the sentence before; ``{are}`` for "is" or "are", by the number
    of the first phrase or pronoun in the sentence; ``{relation}`` for a relation from ``{a}`` or ``{it}`` to ``{b}``.

    Args:
        phrase: order of a noun phrase's words: determiner, size, colour and noun.
        singular: determiners of one thing at its first mention; "a" becomes "an" where necessary.
        bare_plurals: probability that several things are first mentioned without their number.
        joiner: text between phrases of a list.
        last_joiner: text before a list's last phrase.
        opening: sentences that list things, at the start.
        adding: sentences that list further things.
        relating: sentences that relate two things.
        continuing: sentences in which a pronoun refers to the subject of the sentence before.

    """

    phrase: str
    singular: tuple[str, ...]
    bare_plurals: float
    joiner: str
    last_joiner: str
    opening: tuple[str, ...]
    adding: tuple[str, ...]
    relating: tuple[str, ...]
    continuing: tuple[str, ...]


@dataclass(frozen=True)
class QuestionStyle:
    """How questions are phrased.

    In templates ``{x}`` and ``{y}`` stand for noun phrases, ``{relation}`` for a relation between them.
    """

    existence: tuple[str, ...]
    colour: tuple[str, ...]
    shape: tuple[str, ...]
    size: tuple[str, ...]
    count: tuple[str, ...]
    relation: tuple[str, ...]
    yes: str
    no: str


@dataclass(frozen=True)
class Domain:
    """A way to show scenes and to describe them."""

    name: str
    vocabulary: Vocabulary
    captions: CaptionStyle
    questions: QuestionStyle
    backgrounds: tuple[BackgroundKind, ...]

    def scenes(self, config: SceneConfig) -> SceneConfig:
        """Return the config with this domain's backgrounds."""
        return dataclasses.replace(config, backgrounds=self.backgrounds)

    def noun_phrase(self, attributes: Attributes, plural: bool, determiner: str) -> str:
        """Return a noun phrase for things with these attributes; ``determiner`` may be empty."""
        words = self.vocabulary
        noun = words.thing if attributes.shape is None else words.shapes[attributes.shape]
        phrase = self.captions.phrase.format(
            determiner=determiner,
            size="" if attributes.size is None else words.sizes[attributes.size],
            colour="" if attributes.colour is None else words.colours[attributes.colour],
            noun=noun.plural if plural else noun.singular,
        )
        parts = phrase.split()
        if parts[0] == "a" and parts[1][0] in "aeiou":
            parts[0] = "an"
        return " ".join(parts)

    def category(self, scene: Scene, object_id: int) -> str:
        """Return the words for an object's colour and shape, such as "red star"."""
        item = scene.objects[object_id]
        return self.noun_phrase(Attributes(item.shape, item.colour), plural=False, determiner="")


_NOUNS: dict[Shape, Noun] = {
    Shape.CIRCLE: Noun("circle", "circles"),
    Shape.SQUARE: Noun("square", "squares"),
    Shape.TRIANGLE: Noun("triangle", "triangles"),
    Shape.STAR: Noun("star", "stars"),
    Shape.RING: Noun("ring", "rings"),
    Shape.CROSS: Noun("cross", "crosses"),
}

_BASE_WORDS = Vocabulary(
    colours={colour: colour.value for colour in Colour},
    shapes=_NOUNS,
    sizes={size: size.value for size in Size},
    thing=Noun("object", "objects"),
    numbers=("zero", "one", "two", "three", "four", "five"),
    relations={
        Relation.LEFT: ("to the left of", "left of"),
        Relation.RIGHT: ("to the right of", "right of"),
        Relation.ABOVE: ("above", "over"),
        Relation.BELOW: ("below", "under"),
        Relation.NEXT_TO: ("next to", "near", "beside"),
        Relation.IN_FRONT: ("in front of",),
        Relation.BEHIND: ("behind",),
    },
)

_BASE_QUESTIONS = QuestionStyle(
    existence=("Is there {x}?", "Is there {x} in the picture?", "Can you see {x}?"),
    colour=("What colour is {x}?", "Which colour does {x} have?"),
    shape=("What shape is {x}?", "Which shape does {x} have?"),
    size=("What size is {x}?", "Is {x} small or large?"),
    count=("How many {x} are there?", "How many {x} are in the picture?"),
    relation=("Is {x} {relation} {y}?",),
    yes="yes",
    no="no",
)

BASE = Domain(
    name="base",
    vocabulary=_BASE_WORDS,
    captions=CaptionStyle(
        phrase="{determiner} {size} {colour} {noun}",
        singular=("a", "a", "a", "a", "one"),
        bare_plurals=0.15,
        joiner=", ",
        last_joiner=" and ",
        opening=(
            "{list}.",
            "There {are} {list}.",
            "The picture shows {list}.",
            "In the picture there {are} {list}.",
            "You can see {list}.",
        ),
        adding=("There {are} also {list}.", "The picture also shows {list}.", "You can also see {list}."),
        relating=("{a} {are} {relation} {b}.", "There {are} {a} {relation} {b}.", "{a} {relation} {b}."),
        continuing=("{it} {are} {relation} {b}.", "{it} {are} also {relation} {b}."),
    ),
    questions=_BASE_QUESTIONS,
    backgrounds=BASE_BACKGROUNDS,
)

# Each colour and shape takes the name of the one this many positions later; 3 and 2 keep confusable pairs (ring and
# circle) apart.
_COLOUR_SHIFT = 3
_SHAPE_SHIFT = 2

SHIFTED = Domain(
    name="shifted",
    vocabulary=dataclasses.replace(
        _BASE_WORDS,
        colours={
            colour: list(Colour)[(index + _COLOUR_SHIFT) % len(Colour)].value for index, colour in enumerate(Colour)
        },
        shapes={shape: _NOUNS[list(Shape)[(index + _SHAPE_SHIFT) % len(Shape)]] for index, shape in enumerate(Shape)},
        relations={
            Relation.LEFT: ("left of",),
            Relation.RIGHT: ("right of",),
            Relation.ABOVE: ("over",),
            Relation.BELOW: ("under",),
            Relation.NEXT_TO: ("beside",),
            Relation.IN_FRONT: ("in front of",),
            Relation.BEHIND: ("behind",),
        },
    ),
    captions=CaptionStyle(
        phrase="{determiner} {colour} {size} {noun}",
        singular=("one",),
        bare_plurals=0.0,
        joiner=" and ",
        last_joiner=" and ",
        opening=("See {list} in the picture.",),
        adding=("Also {list}.",),
        relating=("In the picture {are} {a} {relation} {b}.",),
        continuing=("Also {it} {are} {relation} {b}.",),
    ),
    questions=dataclasses.replace(
        _BASE_QUESTIONS,
        existence=("Does the picture have {x}?",),
        colour=("{x} is what colour?",),
        shape=("{x} is what shape?",),
        size=("{x} is small or large?",),
        count=("There are how many {x}?",),
        relation=("{x} is {relation} {y}?",),
    ),
    backgrounds=(BackgroundKind.DOTS, BackgroundKind.GRID, BackgroundKind.WAVES),
)

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in (BASE, SHIFTED)}
