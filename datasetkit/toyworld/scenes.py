"""What a scene is: objects on a background, as plain frozen data, and which seeds belong to which split.

Owns the types, the limits of sampling and the held-out combinations. Lengths are px of the scene's canvas, x to the
right, y down, origin in the top left corner.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from datasetkit.core.errors import RecipeError
from datasetkit.toyworld.shapes import Shape, extent


class Colour(StrEnum):
    """The visible colour of an object; a domain decides which word names it."""

    RED = "red"
    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    PURPLE = "purple"
    ORANGE = "orange"
    CYAN = "cyan"
    PINK = "pink"


class Size(StrEnum):
    """The size of an object; the two ranges of radius do not touch."""

    SMALL = "small"
    LARGE = "large"


class BackgroundKind(StrEnum):
    """Pattern behind the objects. The first five belong to the base domain, the others to the shifted one."""

    FLAT = "flat"
    GRADIENT = "gradient"
    CLOUDS = "clouds"
    STRIPES = "stripes"
    CHECKER = "checker"
    DOTS = "dots"
    GRID = "grid"
    WAVES = "waves"


class Split(StrEnum):
    """The part of toyworld that a scene belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


Combination = tuple[Colour, Shape]

# Never in train or validation scenes, nor in their texts; one for every shape, no colour twice.
HELD_OUT: tuple[Combination, ...] = (
    (Colour.ORANGE, Shape.CIRCLE),
    (Colour.PINK, Shape.SQUARE),
    (Colour.CYAN, Shape.TRIANGLE),
    (Colour.BLUE, Shape.STAR),
    (Colour.RED, Shape.RING),
    (Colour.GREEN, Shape.CROSS),
)
ALL_COMBINATIONS: tuple[Combination, ...] = tuple((colour, shape) for colour in Colour for shape in Shape)
SEEN_COMBINATIONS: tuple[Combination, ...] = tuple(item for item in ALL_COMBINATIONS if item not in HELD_OUT)

BASE_BACKGROUNDS = (
    BackgroundKind.FLAT,
    BackgroundKind.GRADIENT,
    BackgroundKind.CLOUDS,
    BackgroundKind.STRIPES,
    BackgroundKind.CHECKER,
)

MAX_OBJECTS = 5  # There are no number words beyond.
_REFERENCE_SIDE_PX = 128
_SEEDS_PER_SPLIT = 2**40


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One object: its centre and its radius in px, its rotation in radians, clockwise.

    Shade is how much lighter (positive) or darker (negative) it is than its colour, in [-1, 1].
    """

    shape: Shape
    colour: Colour
    size: Size
    x: float
    y: float
    radius: float
    rotation: float = 0.0
    shade: float = 0.0

    @property
    def extent(self) -> float:
        """The radius of the smallest circle around the centre that contains the whole object, px."""
        return self.radius * extent(self.shape)

    @property
    def is_held_out(self) -> bool:
        """Whether no train scene has an object of this colour and shape."""
        return (self.colour, self.shape) in HELD_OUT


@dataclass(frozen=True, slots=True)
class Background:
    """What is behind the objects.

    Args:
        kind: the pattern.
        tone: mean colour (red, green, blue), each in [0, 255].
        contrast: difference between the pattern's lightest and darkest values, in 8-bit levels.
        period: length of the pattern's repeat, px.
        angle: direction of the pattern, radians.
        seed: seed of a random pattern.

    """

    kind: BackgroundKind
    tone: tuple[float, float, float]
    contrast: float
    period: float
    angle: float
    seed: int


@dataclass(frozen=True, slots=True)
class SceneConfig:
    """What may be sampled. The defaults are the recipe by which toyworld's models are evaluated.

    Args:
        canvas_hw: height and width, px, each at least 64.
        objects: minimum and maximum number of objects, in [1, 5].
        small_radius: range of radii of small objects, px on a canvas whose shorter side is 128 px.
        large_radius: range of radii of large objects, likewise.
        occlusion_share: share of scenes in which one object partly covers another (scenes of one object have none).
        visible_share: range of the visible part of the covered object, in (0, 1).
        gap: minimum distance between other objects, px on a 128 px canvas.
        repeat_share: probability that an object takes shape or colour, or both, from an earlier one.
        max_rotation: radians, to either side.
        backgrounds: kinds to choose from.
        noise_std: range of the standard deviation of pixel noise, 8-bit levels.
        combinations: colours and shapes that may be combined, in images and in texts about them.

    Raises:
        RecipeError: a range is reversed or out of bounds.

    """

    canvas_hw: tuple[int, int] = (128, 128)
    objects: tuple[int, int] = (2, 5)
    small_radius: tuple[float, float] = (12.0, 14.0)
    large_radius: tuple[float, float] = (18.0, 24.0)
    occlusion_share: float = 0.5
    visible_share: tuple[float, float] = (0.65, 0.95)
    gap: float = 2.0
    repeat_share: float = 0.35
    max_rotation: float = 0.3
    backgrounds: tuple[BackgroundKind, ...] = BASE_BACKGROUNDS
    noise_std: tuple[float, float] = (0.0, 6.0)
    combinations: tuple[Combination, ...] = ALL_COMBINATIONS

    def __post_init__(self) -> None:
        _require_range("objects", self.objects, 1, MAX_OBJECTS)
        _require_range("canvas_hw", (min(self.canvas_hw), max(self.canvas_hw)), 64, 4096)
        _require_range("small_radius", self.small_radius, 6, 28)
        _require_range("large_radius", self.large_radius, 6, 28)
        _require_range("radii", (self.small_radius[1], self.large_radius[0]), 6, 28)
        _require_range("visible_share", self.visible_share, 0.05, 0.99)
        _require_range("occlusion_share and repeat_share", sorted((self.occlusion_share, self.repeat_share)), 0, 1)
        _require_range("noise_std", self.noise_std, 0, 64)
        if not self.backgrounds or not self.combinations:
            raise RecipeError("backgrounds and combinations must each name at least one choice")

    @property
    def scale(self) -> float:
        """The factor from lengths on a 128 px canvas to this one."""
        return min(self.canvas_hw) / _REFERENCE_SIDE_PX


def _require_range(name: str, values: tuple[float, float] | list[float], low: float, high: float) -> None:
    first, last = values
    if not low <= first <= last <= high:
        raise RecipeError(f"{name} is {first} to {last}; give a rising range within [{low}, {high}]")


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything in one image.

    Args:
        config: the config that it was sampled with.
        seed: the seed that it was sampled from; its pixel noise and its texts depend on it too.
        background: what is behind the objects.
        objects: back to front; an object's index is its id.
        occlusion: ids of the covering and the covered object, or None if all are apart.
        noise_std: standard deviation of pixel noise, 8-bit levels.

    """

    config: SceneConfig
    seed: int
    background: Background
    objects: tuple[SceneObject, ...]
    occlusion: tuple[int, int] | None = None
    noise_std: float = 0.0


def seed_for(split: Split, index: int) -> int:
    """Return the seed of the ``index``-th scene of a split; the seed ranges of splits do not overlap.

    Raises:
        RecipeError: ``index`` is negative or beyond the split's range.

    """
    if not 0 <= index < _SEEDS_PER_SPLIT:
        raise RecipeError(f"scene index {index} must be in [0, {_SEEDS_PER_SPLIT})")
    return list(Split).index(split) * _SEEDS_PER_SPLIT + index


def combinations_for(split: Split) -> tuple[Combination, ...]:
    """Return the combinations of a split: test scenes have all, the others all except the held-out ones."""
    return ALL_COMBINATIONS if split is Split.TEST else SEEN_COMBINATIONS


def stream(seed: int, purpose: str) -> random.Random:
    """Return a separate random stream for each purpose, so that a change to one leaves the others as they were."""
    return random.Random(f"toyworld/{seed}/{purpose}")  # noqa: S311
