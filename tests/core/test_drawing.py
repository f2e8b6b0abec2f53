"""Overlays: masks tint their pixels in their own colour, everything else stays as it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from datasetkit.core.drawing import draw_overlay, object_colour
from datasetkit.core.mask import Mask
from datasetkit.core.record import KeyObject


def square(object_id: int, top: int, left: int, side: int) -> KeyObject:
    array = np.zeros((40, 60), dtype=np.bool_)
    array[top : top + side, left : left + side] = True
    return KeyObject(object_id, Mask.from_array(array))


def test_overlay_tints_masks_and_leaves_the_rest() -> None:
    grey = Image.new("RGB", (60, 40), (128, 128, 128))
    drawn = np.asarray(draw_overlay(grey, [square(3, 5, 10, 20), square(4, 10, 15, 5)], max_side_px=60)).astype(int)
    assert drawn.shape == (40, 60, 3)
    assert (drawn[0, 0] == 128).all()
    assert tuple(drawn[5, 12]) == object_colour(3)
    assert tuple(drawn[10, 16]) == object_colour(4)
    for (row, column), object_id in (((22, 12), 3), ((12, 17), 4)):
        wanted = 128 + 64 / 255 * (np.array(object_colour(object_id)) - 128)
        assert np.abs(drawn[row, column] - wanted).max() <= 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((60, 40), (60, 40)),
        ((384, 384), (384, 384)),
        ((385, 100), (384, 100)),
        ((575, 400), (384, 267)),  # half would lose more than a quarter
        ((576, 400), (288, 200)),
        ((640, 427), (320, 214)),
        ((427, 640), (214, 320)),
        ((2000, 1), (334, 1)),
        ((1, 2000), (1, 334)),
    ],
)
def test_overlay_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert draw_overlay(Image.new("RGB", size), []).size == expected


@given(st.integers(1, 3000), st.integers(1, 500))
def test_overlays_keep_three_quarters_of_the_largest_side(side: int, most: int) -> None:
    width, height = draw_overlay(Image.new("RGB", (side, 1)), [], most).size
    assert 0.75 * min(side, most) <= width <= most
    assert height == 1


def test_halved_images_are_averaged_exactly() -> None:
    chess = Image.fromarray(np.indices((40, 60)).sum(axis=0).astype(np.uint8) % 2 * 200).convert("RGB")
    assert draw_overlay(chess, [], 30).getextrema() == ((100, 100),) * 3


def test_colours_of_neighbours_differ() -> None:
    colours = [np.array(object_colour(number)) for number in range(200)]
    assert all(np.abs(a - b).sum() > 100 for a, b in itertools.pairwise(colours))


@given(st.data(), st.tuples(st.integers(1, 30), st.integers(1, 30)), st.sampled_from([1, 5, 11, 29, 100]))
def test_labels_are_those_of_full_size_at_centres(data: st.DataObject, size_hw: tuple[int, int], side: int) -> None:
    arrays = [array for array in data.draw(st.lists(hnp.arrays(np.bool_, size_hw), max_size=4)) if array.any()]
    objects = [KeyObject(number, Mask.from_array(array)) for number, array in enumerate(arrays)]
    drawn = np.asarray(draw_overlay(Image.new("RGB", size_hw[::-1]), objects, side)).astype(int)
    height, width = drawn.shape[:2]
    labels = np.zeros((height, width), dtype=int)
    for number in sorted(range(len(arrays)), key=lambda number: -arrays[number].sum()):
        for row, column in itertools.product(range(height), range(width)):
            centre = int((row + 0.5) * size_hw[0] / height), int((column + 0.5) * size_hw[1] / width)
            if arrays[number][centre]:
                labels[row, column] = number + 1
    padded = np.pad(labels, 1)
    for row, column in itertools.product(range(height), range(width)):
        label = labels[row, column]
        around = {padded[row, column + 1], padded[row + 2, column + 1], padded[row + 1, column]}
        around.add(padded[row + 1, column + 2])
        opacity = 0 if label == 0 else 64 if around == {label} else 255
        wanted = np.array(object_colour(label - 1)) * opacity / 255
        assert np.abs(drawn[row, column] - wanted).max() <= 1


def test_more_objects_than_a_byte_can_count() -> None:
    columns = [KeyObject(number, Mask.from_array(np.arange(300)[None] == number)) for number in range(300)]
    drawn = np.asarray(draw_overlay(Image.new("RGB", (300, 1)), columns))
    assert [tuple(pixel) for pixel in drawn[0]] == [object_colour(number) for number in range(300)]


def test_the_image_is_not_changed() -> None:
    grey = Image.new("RGB", (60, 40), (128, 128, 128))
    draw_overlay(grey, [square(3, 5, 10, 20)])
    assert grey.getextrema() == ((128, 128),) * 3
