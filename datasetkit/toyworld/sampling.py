"""Sampling of scenes. Owns object positions: wholly on the canvas and apart, except one that may cover another."""

from __future__ import annotations

import math
from random import Random

from datasetkit.core.errors import RecipeError
from datasetkit.toyworld.raster import covered
from datasetkit.toyworld.scenes import (
    Background,
    BackgroundKind,
    Combination,
    Scene,
    SceneConfig,
    SceneObject,
    Size,
    stream,
)

_ATTEMPTS = 200
_LAYOUTS = 10
_PLACES_TRIED = 40

# Muted, so that every object colour stands out. Light and dark grounds.
_TONES: tuple[tuple[float, float, float], ...] = (
    (238, 234, 226),
    (225, 229, 232),
    (208, 206, 200),
    (233, 226, 221),
    (62, 66, 76),
    (48, 50, 54),
    (74, 70, 72),
)


def object_count(seed: int, config: SceneConfig) -> int:
    """Return how many objects the scene of this seed has, without sampling it."""
    return stream(seed, "count").randint(*config.objects)


def sample_scene(seed: int, config: SceneConfig) -> Scene:
    """Sample the scene of a seed. Equal seed and config yield an equal scene.

    Raises:
        RecipeError: the config's objects do not fit on its canvas.

    """
    count = object_count(seed, config)
    rng = stream(seed, "scene")
    occluded = count > 1 and rng.random() < config.occlusion_share
    background = _background(rng, config)
    noise_std = rng.uniform(*config.noise_std)
    for _ in range(_ATTEMPTS):
        kinds = _combinations(rng, count, config)
        sizes = [rng.choice(list(Size)) for _ in kinds]
        pairs = _occlusion_pairs(kinds) if occluded else [None]
        # Some samples leave no room (five large objects); a few layouts are tried before giving up.
        for pair in rng.choices(pairs, k=_LAYOUTS) if pairs else ():
            objects = _place(rng, kinds, sizes, pair, config)
            if objects is not None:
                return Scene(config, seed, background, tuple(objects), pair, noise_std)
    raise RecipeError(
        f"{count} objects of radius up to {config.large_radius[1]} px do not fit on the canvas; "
        "allow fewer or smaller objects or more combinations"
    )


def _background(rng: Random, config: SceneConfig) -> Background:
    kind: BackgroundKind = rng.choice(config.backgrounds)
    red, green, blue = rng.choice(_TONES)
    lighter = rng.uniform(-8, 8)
    return Background(
        kind=kind,
        tone=(red + lighter, green + lighter, blue + lighter),
        contrast=rng.uniform(14, 26),
        period=rng.uniform(16, 30) * config.scale,
        angle=rng.uniform(0, 2 * math.pi),
        seed=rng.getrandbits(32),
    )


def _combinations(rng: Random, count: int, config: SceneConfig) -> list[Combination]:
    """Return colours and shapes of the objects; some repeat those of an earlier object, so that plurals occur."""
    chosen: list[Combination] = []
    while len(chosen) < count:
        colour, shape = rng.choice(config.combinations)
        if chosen and rng.random() < config.repeat_share:
            old_colour, old_shape = rng.choice(chosen)
            repeat = rng.choice(("both", "colour", "shape"))
            colour = colour if repeat == "shape" else old_colour
            shape = shape if repeat == "colour" else old_shape
        if (colour, shape) in config.combinations:
            chosen.append((colour, shape))
    return chosen


def _occlusion_pairs(kinds: list[Combination]) -> list[tuple[int, int] | None]:
    """Return ids of a covering object and one behind it; they differ in colour, so that their border is visible."""
    indices = range(len(kinds))
    return [(front, behind) for front in indices for behind in range(front) if kinds[front][0] != kinds[behind][0]]


def _place(
    rng: Random, kinds: list[Combination], sizes: list[Size], pair: tuple[int, int] | None, config: SceneConfig
) -> list[SceneObject] | None:
    """Find a position for every object, or None; the covering one comes last, where it covers enough."""
    front, behind = pair or (None, None)
    placed: dict[int, SceneObject] = {}
    for index in sorted(range(len(kinds)), key=lambda item: item == front):
        others = [item for key, item in placed.items() if index != front or key != behind]
        for _ in range(_PLACES_TRIED):
            near = placed[behind] if index == front and behind is not None else None
            item = _draw_object(rng, kinds[index], sizes[index], near, config)
            if _fits(item, others, config) and (near is None or _covers_enough(item, near, config)):
                placed[index] = item
                break
        else:
            return None
    return [placed[index] for index in range(len(kinds))]


def _draw_object(
    rng: Random, kind: Combination, size: Size, near: SceneObject | None, config: SceneConfig
) -> SceneObject:
    """Sample one object anywhere, or so close to ``near`` that it may cover a part of it."""
    colour, shape = kind
    height, width = config.canvas_hw
    radius = rng.uniform(*(config.small_radius if size is Size.SMALL else config.large_radius)) * config.scale
    if near is None:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
    else:
        angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 1.0) * (near.radius + radius)
        x, y = near.x + distance * math.cos(angle), near.y + distance * math.sin(angle)
    rotation = rng.uniform(-config.max_rotation, config.max_rotation)
    return SceneObject(shape, colour, size, x, y, radius, rotation, rng.uniform(-1, 1))


def _fits(item: SceneObject, others: list[SceneObject], config: SceneConfig) -> bool:
    height, width = config.canvas_hw
    margin = item.extent + config.scale
    if not (margin <= item.x <= width - margin and margin <= item.y <= height - margin):
        return False
    gap = config.gap * config.scale
    return all(math.hypot(item.x - other.x, item.y - other.y) >= item.extent + other.extent + gap for other in others)


def _covers_enough(front: SceneObject, behind: SceneObject, config: SceneConfig) -> bool:
    """Return whether the visible part of ``behind`` is in the config's range, counted in pixels."""
    whole = covered(behind, config.canvas_hw)
    visible = (whole & ~covered(front, config.canvas_hw)).sum() / whole.sum()
    low, high = config.visible_share
    return bool(low <= visible <= high)
