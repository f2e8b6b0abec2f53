"""Scenes and their masks: samples agree with their config, and masks are the visible pixels."""

from __future__ import annotations

import hashlib
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from datasetkit.core.errors import RecipeError
from datasetkit.toyworld.domain import BASE, SHIFTED
from datasetkit.toyworld.raster import covered, visible_masks
from datasetkit.toyworld.render import PALETTE, encode_png, render
from datasetkit.toyworld.sampling import object_count, sample_scene
from datasetkit.toyworld.scenes import (
    ALL_COMBINATIONS,
    HELD_OUT,
    SEEN_COMBINATIONS,
    Background,
    BackgroundKind,
    Colour,
    Scene,
    SceneConfig,
    SceneObject,
    Size,
    Split,
    combinations_for,
    seed_for,
)
from datasetkit.toyworld.shapes import Shape, extent

pytestmark = pytest.mark.slow

# Smoothed edges reach a pixel in all eight directions: diagonally at the inner corners of a cross.
_NEIGHBOURS = np.ones((3, 3))
SEEDS = st.integers(0, 2**42)
CANVASES = st.sampled_from([(128, 128), (96, 160), (200, 128), (384, 384), (64, 64)])


@settings(max_examples=60, deadline=None)
@given(SEEDS, CANVASES)
def test_sampled_scenes_keep_their_config(seed: int, canvas_hw: tuple[int, int]) -> None:
    config = SceneConfig(canvas_hw=canvas_hw)
    scene = sample_scene(seed, config)
    scale = min(canvas_hw) / 128
    assert 2 <= len(scene.objects) <= 5
    assert len(scene.objects) == object_count(seed, config)
    for item in scene.objects:
        low, high = (12, 14) if item.size is Size.SMALL else (18, 24)
        assert low * scale <= item.radius <= high * scale
        assert item.extent <= item.x <= canvas_hw[1] - item.extent
        assert item.extent <= item.y <= canvas_hw[0] - item.extent
    whole = np.array([covered(item, canvas_hw) for item in scene.objects])
    shares = visible_masks(scene).sum((1, 2)) / whole.sum((1, 2))
    for front, behind in itertools.combinations(reversed(range(len(scene.objects))), 2):
        if scene.occlusion == (front, behind):
            assert 0.65 <= shares[behind] <= 0.95
            assert scene.objects[front].colour != scene.objects[behind].colour
        else:
            assert not (whole[front] & whole[behind]).any()
    covered_ids = {scene.occlusion[1]} if scene.occlusion else set()
    assert all(share == 1.0 for index, share in enumerate(shares) if index not in covered_ids)


@settings(max_examples=40, deadline=None)
@given(SEEDS, CANVASES)
def test_masks_are_disjoint_by_the_front_most_object(seed: int, canvas_hw: tuple[int, int]) -> None:
    scene = sample_scene(seed, SceneConfig(canvas_hw=canvas_hw, occlusion_share=1.0))
    masks = visible_masks(scene)
    assert masks.shape == (len(scene.objects), *canvas_hw)
    assert masks.sum(0).max() == 1
    front_most = np.full(canvas_hw, -1)
    for index, item in enumerate(scene.objects):
        front_most[covered(item, canvas_hw)] = index
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, front_most == index)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([128, 256]), st.sampled_from(list(BackgroundKind)))
def test_masks_are_the_pixels_that_show_the_object(seed: int, side: int, kind: BackgroundKind) -> None:
    config = SceneConfig(canvas_hw=(side, side), noise_std=(0, 0), backgrounds=(kind,))
    scene = sample_scene(seed, config)
    pixels = render(scene).astype(int)
    saturation = 1 - pixels.min(2) / pixels.max(2)
    masks = visible_masks(scene)
    near_any = ndimage.binary_dilation(masks.any(0), _NEIGHBOURS)
    assert saturation[~near_any].max() < 0.28
    assert saturation[masks.any(0) & ~_near_edge(masks)].min() > 0.34
    directions = np.array([_direction(np.array([value])) for value in PALETTE.values()])[:, 0]
    for item, mask in zip(scene.objects, masks, strict=True):
        inside = pixels[ndimage.binary_erosion(mask, _NEIGHBOURS)]
        nearest = np.abs(_direction(inside)[:, None] - directions).sum(2).argmin(1)
        assert set(nearest) == {list(Colour).index(item.colour)}


def _near_edge(masks: np.ndarray) -> np.ndarray:
    return np.any([mask & ~ndimage.binary_erosion(mask, _NEIGHBOURS) for mask in masks], axis=0)


def _direction(pixels: np.ndarray) -> np.ndarray:
    """Return the colour without brightness."""
    return pixels / pixels.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (Shape.CIRCLE, math.pi),
        (Shape.RING, math.pi * (1 - 0.48**2)),
        (Shape.SQUARE, (2 * (1.06 * math.sqrt(0.5) + 0.08)) ** 2 - (4 - math.pi) * 0.08**2),
        (Shape.CROSS, 4 * (2 * 1.02 * 0.36 - 0.36**2) - 8 * (1 - math.pi / 4) * 0.08**2),
    ],
)
@pytest.mark.parametrize("rotation", [0.0, 0.3, -1.0])
def test_areas_are_those_of_the_shapes(shape: Shape, area: float, rotation: float) -> None:
    item = SceneObject(shape, Colour.RED, Size.LARGE, 150.2, 149.7, 80.0, rotation)
    assert covered(item, (300, 300)).sum() == pytest.approx(area * 80**2, rel=0.005)


@pytest.mark.parametrize("shape", list(Shape))
def test_extent_is_the_smallest_circle_around(shape: Shape) -> None:
    item = SceneObject(shape, Colour.RED, Size.LARGE, 150, 150, 80.0, 0.4)
    rows, columns = np.nonzero(covered(item, (300, 300)))
    reach = np.hypot(rows + 0.5 - 150, columns + 0.5 - 150).max() / 80
    assert extent(shape) - 0.05 <= reach <= extent(shape)


@pytest.mark.parametrize(("shape", "points"), [(Shape.TRIANGLE, 3), (Shape.STAR, 5)])
def test_pointed_shapes_point_up_and_are_symmetric(shape: Shape, points: int) -> None:
    masks = [
        covered(SceneObject(shape, Colour.RED, Size.LARGE, 150, 150, 100.0, turn), (300, 300))
        for turn in (0.0, 2 * math.pi / points)
    ]
    assert masks[0][:60, 145:155].any()
    assert (masks[0] ^ masks[1]).sum() < 0.002 * masks[0].sum()
    np.testing.assert_array_equal(masks[0], masks[0][:, ::-1])


def test_splits_have_separate_seeds() -> None:
    seeds = [seed_for(split, index) for split in Split for index in (0, 1, 2**40 - 1)]
    assert seeds == sorted(set(seeds))
    for index in (-1, 2**40):
        with pytest.raises(RecipeError, match="scene index"):
            seed_for(Split.TRAIN, index)


def test_held_out_combinations_are_in_test_scenes_only() -> None:
    assert {shape for _, shape in HELD_OUT} == set(Shape)
    assert len({colour for colour, _ in HELD_OUT}) == len(HELD_OUT)
    assert sorted(SEEN_COMBINATIONS + HELD_OUT) == sorted(ALL_COMBINATIONS)
    found = {}
    for split in Split:
        config = SceneConfig(combinations=combinations_for(split))
        items = [item for index in range(150) for item in sample_scene(seed_for(split, index), config).objects]
        found[split] = {(item.colour, item.shape) for item in items}
        assert {(item.colour, item.shape) for item in items if item.is_held_out} == found[split] & set(HELD_OUT)
    assert found[Split.TRAIN] == found[Split.VALIDATION] == set(SEEN_COMBINATIONS)
    assert found[Split.TEST] == set(ALL_COMBINATIONS)


def test_occlusions_and_object_counts_occur() -> None:
    scenes = [sample_scene(seed, SceneConfig()) for seed in range(400)]
    assert 0.44 <= np.mean([scene.occlusion is not None for scene in scenes]) <= 0.56
    counts = np.bincount([len(scene.objects) for scene in scenes], minlength=6)
    assert counts[2:].min() > 70
    assert {scene.background.kind for scene in scenes} == set(BASE.backgrounds)
    assert 0.4 <= np.mean([item.size is Size.LARGE for scene in scenes for item in scene.objects]) <= 0.55


@pytest.mark.parametrize("kind", list(BackgroundKind))
def test_object_colours_stand_out(kind: BackgroundKind) -> None:
    colours = _lab(np.array(list(PALETTE.values())))
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    assert apart[~np.eye(len(colours), dtype=bool)].min() > 30
    for seed in range(30):
        scene = sample_scene(seed, SceneConfig(backgrounds=(kind,), noise_std=(0, 0)))
        empty = render(Scene(scene.config, seed, scene.background, ()))
        grounds = _lab(np.unique(empty.reshape(-1, 3), axis=0))
        assert np.linalg.norm(grounds[:, None] - colours[None], axis=2).min() > 30


def _lab(rgb: np.ndarray) -> np.ndarray:
    """Convert 8-bit sRGB colours, shape (N, 3), to CIELAB (D65)."""
    linear = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    cubes = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * cubes[:, 1] - 16, 500 * (cubes[:, 0] - cubes[:, 1]), 200 * (cubes[:, 1] - cubes[:, 2])], axis=1
    )


def test_domains_have_separate_backgrounds() -> None:
    assert set(BASE.backgrounds).isdisjoint(SHIFTED.backgrounds)
    scene = sample_scene(3, SHIFTED.scenes(SceneConfig()))
    assert scene.background.kind in SHIFTED.backgrounds


def test_noise_has_the_stated_spread() -> None:
    background = Background(BackgroundKind.FLAT, (120.0, 120.0, 120.0), 20.0, 20.0, 0.0, 0)
    pixels = render(Scene(SceneConfig(), 5, background, (), noise_std=6.0))
    assert pixels.std() == pytest.approx(6.0, rel=0.02)


_IN_A_PROCESS = """
import hashlib
from datasetkit.toyworld.sampling import sample_scene
from datasetkit.toyworld.scenes import SceneConfig
from datasetkit.toyworld.render import encode_png, render
digest = hashlib.sha256()
for seed in range(20):
    digest.update(encode_png(render(sample_scene(seed, SceneConfig()))))
print(digest.hexdigest())
"""


def test_equal_seeds_yield_equal_bytes_in_other_processes() -> None:
    digest = hashlib.sha256()
    for seed in range(20):
        digest.update(encode_png(render(sample_scene(seed, SceneConfig()))))
    result = subprocess.run([sys.executable, "-c", _IN_A_PROCESS], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objects": (0, 3)}, "objects"),
        ({"objects": (2, 6)}, "objects"),
        ({"objects": (4, 3)}, "rising"),
        ({"canvas_hw": (128, 32)}, "canvas_hw"),
        ({"small_radius": (14.0, 12.0)}, "small_radius"),
        ({"small_radius": (12.0, 19.0)}, "radii"),
        ({"visible_share": (0.5, 1.0)}, "visible_share"),
        ({"combinations": ()}, "at least one"),
    ],
)
def test_bad_configs_are_refused(options: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        SceneConfig(**options)


def test_config_without_room_is_refused() -> None:
    config = SceneConfig(objects=(5, 5), small_radius=(20, 20), large_radius=(28, 28), gap=20)
    with pytest.raises(RecipeError, match="do not fit on the canvas"):
        sample_scene(0, config)
