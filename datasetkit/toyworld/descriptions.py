"""Descriptions of scenes with exact ground truth: which characters name which objects.

Owns the rule of truth: a noun phrase is written only if the objects that fit its words are exactly those it names, "a"
for one object, a number word for that many; a relation only if it holds from each subject to each other object; a
pronoun only for the subject of the sentence before. A description may leave objects out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from datasetkit.toyworld.domain import Domain
from datasetkit.toyworld.referring import (
    Attributes,
    ObjectIds,
    Relation,
    attributes_of,
    group_relations,
    groups_with,
    names_for,
)
from datasetkit.toyworld.scenes import Scene, Size

_SAY_ALL = 0.7
_RELATE = 0.6
_CONTINUE = 0.7
_RECALL = 0.4
_LIST_REST = 0.5
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class GoldPhrase:
    """A noun phrase or pronoun, its [start, end) in the description, and the ids of its objects, rising."""

    text: str
    start: int
    end: int
    object_ids: ObjectIds
    is_pronoun: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """A text about a scene and its phrases in order of their start."""

    text: str
    phrases: tuple[GoldPhrase, ...]

    @property
    def mentioned(self) -> frozenset[int]:
        """The ids of the objects that any phrase names."""
        return frozenset(object_id for phrase in self.phrases for object_id in phrase.object_ids)


@dataclass(frozen=True, slots=True)
class AbsentPhrase:
    """A noun phrase for something that is not in the scene.

    It is hard if the scene has its colour with another shape or its shape in another colour.
    """

    text: str
    is_hard: bool


@dataclass(frozen=True, slots=True)
class _Group:
    """Objects that one phrase can name, with the words for their first mention."""

    name: Attributes
    object_ids: ObjectIds

    @property
    def is_plural(self) -> bool:
        return len(self.object_ids) > 1


def describe(scene: Scene, domain: Domain, rng: Random) -> Description:
    """Write a varied description: lists, relations, pronouns, repeated mentions; some leave objects out."""
    groups = _partition(scene, rng)
    if rng.random() >= _SAY_ALL and len(groups) > 1:
        groups = groups[: rng.randint(1, len(groups) - 1)]
    return _Writer(scene, domain, rng).write(groups)


def list_objects(scene: Scene, domain: Domain) -> Description:
    """Write one plain sentence that names every object by size, colour and shape, from left to right.

    Equal objects share one phrase. The form never varies, so that a caption can be scored per object.
    """
    groups = [_Group(name, name.extension(scene)) for name in map(attributes_of, scene.objects)]
    leftmost = {group: min(scene.objects[index].x for index in group.object_ids) for group in groups}
    # One way to mention an object.
    captions = dataclasses.replace(domain.captions, singular=domain.captions.singular[:1], bare_plurals=0.0)
    writer = _Writer(scene, dataclasses.replace(domain, captions=captions), Random(0))  # noqa: S311
    writer.sentence(domain.captions.opening[0], listed=sorted(leftmost, key=lambda group: leftmost[group]))
    return writer.finish()


def absent_phrases(scene: Scene, domain: Domain, rng: Random, count: int) -> tuple[AbsentPhrase, ...]:
    """Write noun phrases for things that are not in the scene, about half of them hard, each only once.

    Only combinations that the scene's config allows are named. If there are not enough, fewer than ``count`` are
    returned.
    """
    colours = {item.colour for item in scene.objects}
    shapes = {item.shape for item in scene.objects}
    names: list[tuple[Attributes, bool]] = []
    for colour, shape in scene.config.combinations:
        for size in (None, *Size):
            name = Attributes(shape, colour, size)
            if not name.extension(scene):
                names.append((name, colour in colours or shape in shapes))
    rng.shuffle(names)
    hard = [item for item in names if item[1]]
    easy = [item for item in names if not item[1]]
    wanted_hard = max(count - len(easy), (count + 1) // 2)
    chosen = hard[:wanted_hard]
    chosen += easy[: count - len(chosen)]
    rng.shuffle(chosen)
    return tuple(AbsentPhrase(domain.noun_phrase(name, plural=False, determiner="a"), hard) for name, hard in chosen)


def _partition(scene: Scene, rng: Random) -> list[_Group]:
    """Divide the scene's objects into groups that one phrase can name, in random order."""
    order = list(range(len(scene.objects)))
    rng.shuffle(order)
    taken: set[int] = set()
    groups: list[_Group] = []
    for object_id in order:
        if object_id in taken:
            continue
        free = [(name, ids) for name, ids in groups_with(scene, object_id) if taken.isdisjoint(ids)]
        name, ids = rng.choices(free, weights=[_weight(name, ids) for name, ids in free])[0]
        taken.update(ids)
        groups.append(_Group(name, ids))
    return groups


def _weight(name: Attributes, object_ids: ObjectIds) -> float:
    """Return the weight of words: higher with shape and colour, and for plurals, as they are rarely possible."""
    weight = 1.0 if name.shape is not None else 0.12
    weight *= 1.0 if name.colour is not None else 0.35
    return weight * (2.5 if len(object_ids) > 1 else 1.0)


@dataclass(frozen=True, slots=True)
class _Link:
    """A relation that holds from each object of one group to each of another."""

    subject: _Group
    relation: Relation
    other: _Group


class _Writer:
    """Appends sentences and records what each phrase names, and what was mentioned."""

    def __init__(self, scene: Scene, domain: Domain, rng: Random) -> None:
        self._scene = scene
        self._domain = domain
        self._rng = rng
        self._text = ""
        self._phrases: list[GoldPhrase] = []
        self._mentioned: list[_Group] = []
        self._related: list[set[_Group]] = []

    def finish(self) -> Description:
        return Description(self._text, tuple(self._phrases))

    def write(self, groups: list[_Group]) -> Description:
        """Mention every group, then perhaps relate two of them once more."""
        style = self._domain.captions
        rest = list(groups)
        subject: _Group | None = None
        while rest:
            link = self._choose_link([subject] if subject else [], rest, _CONTINUE)
            if link:
                self.sentence(self._rng.choice(style.continuing), link)
                rest.remove(link.other)
                continue
            link = self._choose_link(rest, rest, _RELATE)
            if link:
                self.sentence(self._rng.choice(style.relating), link)
                rest = [group for group in rest if group not in (link.subject, link.other)]
                subject = link.subject
                continue
            count = len(rest) if self._rng.random() < _LIST_REST else self._rng.randint(1, len(rest))
            listed, rest = rest[:count], rest[count:]
            self.sentence(self._rng.choice(style.adding if self._mentioned else style.opening), listed=listed)
            subject = listed[0] if count == 1 else None
        self._recall(subject)
        return self.finish()

    def _recall(self, last_subject: _Group | None) -> None:
        """Perhaps relate two mentioned groups in a further sentence, the first by a pronoun if possible."""
        if self._rng.random() >= _RECALL:
            return
        style = self._domain.captions
        link = self._choose_link([last_subject] if last_subject else [], self._mentioned, _CONTINUE)
        if link:
            self.sentence(self._rng.choice(style.continuing), link)
            return
        link = self._choose_link(self._mentioned, self._mentioned, 1.0)
        if link:
            self.sentence(style.relating[0], link)

    def _choose_link(self, subjects: list[_Group], others: list[_Group], chance: float) -> _Link | None:
        """Choose, with some probability, a relation from a subject to another group that was not stated yet."""
        if self._rng.random() >= chance:
            return None
        links = [
            _Link(subject, relation, other)
            for subject in subjects
            for other in others
            if subject != other and {subject, other} not in self._related
            for relation in group_relations(self._scene, subject.object_ids, other.object_ids)
        ]
        return self._rng.choice(links) if links else None

    def sentence(self, template: str, link: _Link | None = None, *, listed: Sequence[_Group] = ()) -> None:
        """Append a sentence from a template of the domain's captions, about a link or a list of groups."""
        first = link.subject if link else listed[0]
        if self._text:
            self._text += " "
        begin = len(self._text)
        for index, part in enumerate(_SLOT.split(template)):
            if index % 2 == 0:
                self._text += part
            elif part == "are":
                self._text += "are" if first.is_plural else "is"
            elif part == "list":
                style = self._domain.captions
                for place, group in enumerate(listed):
                    if place:
                        self._text += style.last_joiner if place == len(listed) - 1 else style.joiner
                    self._phrase(group)
            elif link:
                self._fill(part, link)
        self._capitalise(begin)
        if link:
            self._related.append({link.subject, link.other})

    def _fill(self, slot: str, link: _Link) -> None:
        """Append what a template's slot stands for in a sentence that relates two groups."""
        if slot == "a":
            self._phrase(link.subject)
        elif slot == "b":
            self._phrase(link.other)
        elif slot == "it":
            pronoun = "they" if link.subject.is_plural else "it"
            self._append(pronoun, link.subject.object_ids, is_pronoun=True)
        elif slot == "relation":
            self._text += self._rng.choice(self._domain.vocabulary.relations[link.relation])

    def _phrase(self, group: _Group) -> None:
        """Append a noun phrase: with article or number at the first mention, definite afterwards."""
        number = self._domain.vocabulary.numbers[len(group.object_ids)]
        name = group.name
        if group in self._mentioned:
            # A repeated mention does not add words to the first.
            name = self._rng.choice([item for item in names_for(self._scene, group.object_ids) if item.fit(name)])
            determiner = self._rng.choice(("the", f"the {number}")) if group.is_plural else "the"
        elif group.is_plural:
            determiner = "" if self._rng.random() < self._domain.captions.bare_plurals else number
        else:
            determiner = self._rng.choice(self._domain.captions.singular)
        if group not in self._mentioned:
            self._mentioned.append(group)
        self._append(self._domain.noun_phrase(name, group.is_plural, determiner), group.object_ids)

    def _append(self, words: str, object_ids: ObjectIds, *, is_pronoun: bool = False) -> None:
        start = len(self._text)
        self._text += words
        self._phrases.append(GoldPhrase(words, start, len(self._text), object_ids, is_pronoun))

    def _capitalise(self, begin: int) -> None:
        """Capitalise the sentence's first letter, also in the phrase that starts there."""
        self._text = self._text[:begin] + self._text[begin].upper() + self._text[begin + 1 :]
        self._phrases = [
            dataclasses.replace(phrase, text=self._text[phrase.start : phrase.end]) for phrase in self._phrases
        ]
