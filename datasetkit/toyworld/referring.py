"""What words can pick out in a scene: attributes and the objects that have them, relations and whether they hold.

Owns the meaning of descriptions and questions; knows no words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from datasetkit.toyworld.scenes import Colour, Scene, SceneObject, Size
from datasetkit.toyworld.shapes import Shape

# In lengths of the canvas's shorter side.
_CLEARLY_BESIDE = 0.14
_NEAR_GAP = 0.08

ObjectIds = tuple[int, ...]


class Relation(StrEnum):
    """How one object lies to another in the image."""

    LEFT = "left"
    RIGHT = "right"
    ABOVE = "above"
    BELOW = "below"
    NEXT_TO = "next_to"
    IN_FRONT = "in_front"
    BEHIND = "behind"


OPPOSITES: dict[Relation, Relation] = {
    Relation.LEFT: Relation.RIGHT,
    Relation.RIGHT: Relation.LEFT,
    Relation.ABOVE: Relation.BELOW,
    Relation.BELOW: Relation.ABOVE,
    Relation.IN_FRONT: Relation.BEHIND,
    Relation.BEHIND: Relation.IN_FRONT,
}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a noun phrase says of its objects; None where it does not say."""

    shape: Shape | None = None
    colour: Colour | None = None
    size: Size | None = None

    def fit(self, item: SceneObject | Attributes) -> bool:
        """Whether an object has all of them, or another mention says all of them."""
        return (
            self.shape in (None, item.shape) and self.colour in (None, item.colour) and self.size in (None, item.size)
        )

    def extension(self, scene: Scene) -> ObjectIds:
        """Ids of all objects of the scene that have them, rising."""
        return tuple(index for index, item in enumerate(scene.objects) if self.fit(item))


def attributes_of(item: SceneObject) -> Attributes:
    """Everything that can be said of an object."""
    return Attributes(item.shape, item.colour, item.size)


def ways_to_name(item: SceneObject) -> tuple[Attributes, ...]:
    """Every choice of an object's attributes, the fullest first, but for the one that says nothing."""
    choices = product((item.shape, None), (item.colour, None), (item.size, None))
    return tuple(Attributes(*choice) for choice in choices if any(choice))


def names_for(scene: Scene, object_ids: ObjectIds) -> tuple[Attributes, ...]:
    """Every choice of attributes that these objects, and no other object of the scene, have."""
    first = scene.objects[object_ids[0]]
    return tuple(name for name in ways_to_name(first) if name.extension(scene) == object_ids)


def groups_with(scene: Scene, object_id: int) -> tuple[tuple[Attributes, ObjectIds], ...]:
    """Every choice of attributes of an object, with all objects of the scene that share them."""
    return tuple((name, name.extension(scene)) for name in ways_to_name(scene.objects[object_id]))


def relations_between(scene: Scene, subject: int, other: int) -> tuple[Relation, ...]:
    """The relations that clearly hold from one object to another.

    Left, right, above and below need centres well apart, and hold along the longer of the two distances only. Next to
    needs outlines (circles around them) close to each other but apart. In front and behind need an occlusion.
    """
    first, second = scene.objects[subject], scene.objects[other]
    side = min(scene.config.canvas_hw)
    right, down = second.x - first.x, second.y - first.y
    found: list[Relation] = []
    if max(abs(right), abs(down)) >= _CLEARLY_BESIDE * side:
        if abs(right) >= abs(down):
            found.append(Relation.LEFT if right > 0 else Relation.RIGHT)
        else:
            found.append(Relation.ABOVE if down > 0 else Relation.BELOW)
    if scene.occlusion == (subject, other):
        found.append(Relation.IN_FRONT)
    elif scene.occlusion == (other, subject):
        found.append(Relation.BEHIND)
    elif math.hypot(right, down) - first.extent - second.extent <= _NEAR_GAP * side:
        found.append(Relation.NEXT_TO)
    return tuple(found)


def group_relations(scene: Scene, subjects: ObjectIds, others: ObjectIds) -> tuple[Relation, ...]:
    """The relations that hold from each of the subjects to each of the others."""
    common = [relations_between(scene, subject, other) for subject in subjects for other in others]
    return tuple(relation for relation in Relation if all(relation in found for found in common))
