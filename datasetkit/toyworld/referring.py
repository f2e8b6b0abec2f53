"""What words can pick out in a scene: attributes and the objects that have them, relations and whether they hold.

Owns the meaning of descriptions and questions, independently of words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from datasetkit.toyworld.scenes import Colour, Scene, SceneObject, Size
from datasetkit.toyworld.shapes import Shape

# In units of the canvas's shorter side.
_CLEARLY_BESIDE = 0.14
_NEAR_GAP = 0.08

ObjectIds = tuple[int, ...]


class Relation(StrEnum):
    """The position of one object relative to another in the image."""

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
    """The attributes in a noun phrase; None for those that it does not mention."""

    shape: Shape | None = None
    colour: Colour | None = None
    size: Size | None = None

    def fit(self, item: SceneObject | Attributes) -> bool:
        """Return whether an object has all of them, or another mention includes all of them."""
        return (
            self.shape in (None, item.shape) and self.colour in (None, item.colour) and self.size in (None, item.size)
        )

    def extension(self, scene: Scene) -> ObjectIds:
        """Return the ids of all objects of the scene that have them, rising."""
        return tuple(index for index, item in enumerate(scene.objects) if self.fit(item))


def attributes_of(item: SceneObject) -> Attributes:
    """Return all attributes of an object."""
    return Attributes(item.shape, item.colour, item.size)


def ways_to_name(item: SceneObject) -> tuple[Attributes, ...]:
    """Return every choice of an object's attributes, the most specific first, except the empty one."""
    choices = product((item.shape, None), (item.colour, None), (item.size, None))
    return tuple(Attributes(*choice) for choice in choices if any(choice))


def names_for(scene: Scene, object_ids: ObjectIds) -> tuple[Attributes, ...]:
    """Return every choice of attributes that these objects, and no other object of the scene, have."""
    first = scene.objects[object_ids[0]]
    return tuple(name for name in ways_to_name(first) if name.extension(scene) == object_ids)


def groups_with(scene: Scene, object_id: int) -> tuple[tuple[Attributes, ObjectIds], ...]:
    """Return every choice of attributes of an object, with all objects of the scene that share them."""
    return tuple((name, name.extension(scene)) for name in ways_to_name(scene.objects[object_id]))


def relations_between(scene: Scene, subject: int, other: int) -> tuple[Relation, ...]:
    """Return the relations that clearly hold from one object to another.

    Left, right, above and below require centres well apart, and hold only along the longer of the two distances. Next
    to requires outlines (circles around them) close to each other but apart. In front and behind require an occlusion.
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
    """Return the relations that hold from each of the subjects to each of the others."""
    common = [relations_between(scene, subject, other) for subject in subjects for other in others]
    return tuple(relation for relation in Relation if all(relation in found for found in common))
