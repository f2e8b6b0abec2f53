"""Overlays: masks tint their pixels in their own colour, everything else stays as it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
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


@pytest.mark.parametrize(("size", "expected"), [((60, 40), (60, 40)), ((600, 400), (384, 256)), ((2000, 1), (384, 1))])
def test_overlay_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert draw_overlay(Image.new("RGB", size), []).size == expected


def test_colours_of_neighbours_differ() -> None:
    colours = [np.array(object_colour(number)) for number in range(200)]
    assert all(np.abs(a - b).sum() > 100 for a, b in itertools.pairwise(colours))
