from __future__ import annotations

import math

import numpy as np
import pytest

from datasetkit.toyworld.descriptions import list_objects
from datasetkit.toyworld.domain import DOMAINS, Domain
from datasetkit.toyworld.scenes import BASE_BACKGROUNDS, Colour, SceneConfig, Split
from datasetkit.toyworld.shapes import Shape
from tools.toyworld.captions import listed_objects, shown_objects
from tools.toyworld.evaluation.attention import object_patches
from tools.toyworld.evaluation.detections import box_iou, match, suppress
from tools.toyworld.evaluation.recipe import EvaluationRecipe
from tools.toyworld.evaluation.segmentations import mask_ious, moved

RECIPE = EvaluationRecipe.load()


def test_the_recipe_matches_the_scene_defaults() -> None:
    assert RECIPE.scenes == SceneConfig()
    assert RECIPE.scenes.canvas_hw == (128, 128)
    assert RECIPE.scenes.objects == (2, 5)
    assert (RECIPE.scenes.small_radius, RECIPE.scenes.large_radius) == ((12, 14), (18, 24))
    assert RECIPE.scenes.backgrounds == BASE_BACKGROUNDS
    assert RECIPE.scenes.occlusion_share == 0.5
    assert RECIPE.scenes.visible_share[0] == 0.65
    assert RECIPE.count == {Split.VALIDATION: 200, Split.TEST: 500}


def test_only_test_scenes_show_unseen_combinations() -> None:
    recipe = RECIPE.limited(30)
    shown = {
        split: [item.is_held_out for example in recipe.examples(split) for item in example.scene.objects]
        for split in (Split.VALIDATION, Split.TEST)
    }
    assert not any(shown[Split.VALIDATION])
    assert 0.02 < np.mean(shown[Split.TEST]) < 0.3


def test_examples_have_tight_boxes_and_moved_ones_near_them() -> None:
    for example in RECIPE.limited(5).examples(Split.TEST):
        for mask, (left, top, right, bottom) in zip(example.masks, example.boxes_xyxy.astype(int), strict=True):
            assert mask[top:bottom, left:right].sum() == mask.sum()
            assert mask[top].any()
            assert mask[bottom - 1].any()
            assert mask[:, left].any()
            assert mask[:, right - 1].any()
        boxes = moved(example, 0.1)
        sides = np.tile(example.boxes_xyxy[:, 2:] - example.boxes_xyxy[:, :2], 2)
        assert (np.abs(boxes - example.boxes_xyxy) <= 0.1 * sides + 1e-9).all()
        assert (boxes != example.boxes_xyxy).any()
        np.testing.assert_array_equal(moved(example, 0.1), boxes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A small red star and two large blue rings.", {("red", "star"): 1, ("blue", "ring"): 2}),
        ("a red star, a red star and a star.", {("red", "star"): 2}),
        ("three green crosses", {("green", "cross"): 3}),
        ("a red blue star", {}),
        ("yes", {}),
        ("", {}),
    ],
)
def test_captions_are_read_object_by_object(text: str, expected: dict[tuple[str, str], int]) -> None:
    wanted = {(Colour(colour), Shape(shape)): count for (colour, shape), count in expected.items()}
    assert listed_objects(text, DOMAINS["base"]) == wanted


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=lambda domain: domain.name)
def test_a_true_caption_lists_exactly_what_is_shown(domain: Domain) -> None:
    for example in RECIPE.limited(40).examples(Split.TEST):
        text = list_objects(example.scene, domain).text
        assert listed_objects(text, domain) == shown_objects(example.scene)


def test_overlap_of_boxes_and_of_masks() -> None:
    boxes = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])
    np.testing.assert_allclose(box_iou(boxes[:1], boxes), [[1, 1 / 3, 0]])
    masks = np.zeros((1, 2, 4), dtype=bool)
    masks[0, :, :2] = True
    others = np.zeros((1, 2, 4), dtype=bool)
    others[0, :, 1:3] = True
    assert mask_ious(masks, others).tolist() == pytest.approx([1 / 3])


def test_worse_boxes_on_better_ones_are_left_out() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
    assert suppress(boxes, np.array([0.5, 0.9, 0.1]), 0.5) == [1, 2]
    assert suppress(boxes, np.array([0.5, 0.9, 0.1]), 0.9) == [1, 0, 2]


def test_each_true_box_is_found_once() -> None:
    truth = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    assert match(np.array([[0.0, 0, 10, 10], [1, 0, 11, 10]]), truth, 0.5) == [0]
    assert match(np.array([[21.0, 20, 31, 30], [0, 0, 10, 10]]), truth, 0.5) == [1, 0]
    assert match(np.array([[12.0, 0, 18, 10]]), truth, 0.5) == []


def test_patches_of_an_object_are_those_it_fills_and_the_fullest() -> None:
    mask = np.zeros((1, 128, 128), dtype=bool)
    mask[0, 16:32, 30:52] = True
    assert np.flatnonzero(object_patches(mask)).tolist() == [8 + 2, 8 + 3]
    tiny = np.zeros((1, 128, 128), dtype=bool)
    tiny[0, 0, 0] = True
    assert np.flatnonzero(object_patches(tiny)).tolist() == [0]
    assert math.isclose(object_patches(mask).mean(), 2 / 64)
