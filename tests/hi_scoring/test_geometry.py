"""Views of an image: their exact coverage, and the requirements on a set of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.hi_scoring.geometry import ImageTokens, Tower, View, mosaic


def view(top_bottom: list[list[float]], left_right: list[list[float]]) -> View:
    tokens = np.arange(len(top_bottom) * len(left_right)).reshape(len(top_bottom), len(left_right))
    return View("global", tokens, np.array(top_bottom, float), np.array(left_right, float))


def mask(*rows: str) -> np.ndarray:
    return np.array([[[sign == "#" for sign in row] for row in rows]])


# An image of 2 x 4 px; its right half is the object.
HALF = mask("..##", "..##")


@pytest.mark.parametrize(
    ("top_bottom", "left_right", "expected"),
    [
        pytest.param([[0, 2]], [[0, 2], [2, 4]], [[0, 1]], id="on the border of pixels"),
        pytest.param([[0, 2]], [[0, 2.5], [2.5, 4]], [[0.2, 1]], id="through a pixel"),
        pytest.param([[0, 0.5], [0.5, 2]], [[1.75, 2.25]], [[0.5], [0.5]], id="within pixels"),
        pytest.param([[-1, 1], [1, 3]], [[1, 5]], [[2 / 3], [2 / 3]], id="padding does not count"),
        pytest.param([[-2, 0], [0, 2]], [[3, 4]], [[0], [1]], id="padding alone"),
        pytest.param([[0, 2]], [[4, 6], [9, 11]], [[0, 0]], id="beyond the image"),
    ],
)
def test_coverage_is_the_share_of_a_tokens_area(top_bottom: list, left_right: list, expected: list):
    np.testing.assert_allclose(view(top_bottom, left_right).coverage(HALF)[0], expected, atol=1e-12)


def test_each_mask_has_its_coverage():
    two = np.concatenate([HALF, ~HALF])
    np.testing.assert_allclose(view([[0, 2]], [[0, 1], [1, 4]]).coverage(two), [[[0, 2 / 3]], [[1, 1 / 3]]])
    assert view([[0, 2]], [[0, 4]]).coverage(HALF[:0]).shape == (0, 1, 1)


@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_tiling_tokens_cover_all_mask_pixels(height: int, width: int, rows: int, columns: int, seed: int):
    masks = np.random.default_rng(seed).random((2, height, width)) < 0.4
    tower = Tower((rows, columns), 1, (rows, columns))
    grid = tower.squash("global", np.arange(rows * columns).reshape(rows, columns), (height, width))
    coverage = grid.coverage(masks)
    assert (coverage >= 0).all()
    assert (coverage <= 1).all()
    left, top, right, bottom = np.moveaxis(grid.boxes(), -1, 0)
    assert ((right - left) * (bottom - top)).sum() == pytest.approx(height * width)
    pixels = (coverage * (right - left) * (bottom - top)).sum((1, 2))
    np.testing.assert_allclose(pixels, masks.sum((1, 2)), atol=1e-9)


def test_boxes_are_x0_y0_x1_y1():
    boxes = Tower((1, 2), 1, (1, 2)).view("crop 0", np.arange(2).reshape(1, 2), (10, 20), (30, 50)).boxes()
    assert boxes.tolist() == [[[30, 10, 40, 20], [40, 10, 50, 20]]]


@pytest.mark.parametrize(
    ("tower", "start", "stop", "spans"),
    [
        pytest.param(Tower((6, 6), 2, (3, 3)), 1, 4, [[1, 2], [2, 3], [3, 4]], id="whole patches"),
        # Two patches of 4 px out of 9 px are seen, in each of two tiles.
        pytest.param(Tower((9, 9), 4, (2, 2)), 0, 18, [[0, 4], [4, 8], [9, 13], [13, 17]], id="px left over"),
        pytest.param(Tower((9, 9), 4, (2, 2)), 10, 28, [[10, 14], [14, 18], [19, 23], [23, 27]], id="further down"),
        pytest.param(Tower((9, 9), 4, (1, 1)), 0, 36, [[0, 16], [18, 34]], id="tokens of patches, enlarged"),
        # Two tokens have 3 patches each, out of 7.
        pytest.param(Tower((7, 7), 1, (2, 2)), 0, 7, [[0, 3], [3, 6]], id="patches left over"),
    ],
)
def test_a_tower_sees_whole_patches(tower: Tower, start: float, stop: float, spans: list):
    assert tower.spans(0, len(spans), start, stop).tolist() == spans


def test_tiles_become_one_grid():
    assert mosaic(10, (1, 2), (2, 2)).tolist() == [[10, 11, 14, 15], [12, 13, 16, 17]]
    assert mosaic(0, (2, 1), (1, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert mosaic(0, (0, 0), (2, 2)).size == 0


@pytest.mark.parametrize(
    ("tokens", "count"),
    [
        pytest.param([[0, 1], [2, 4]], 4, id="one that is not there"),
        pytest.param([[0, 1], [-1, 2]], 4, id="one before the first"),
        pytest.param([[0, 1], [1, 2]], 4, id="one twice"),
        pytest.param([[0, 1, 2]], 4, id="places of other rows"),
    ],
)
def test_invalid_views_are_refused(tokens: list, count: int):
    halves = np.array([[0.0, 2], [2, 4]])
    with pytest.raises(ValueError, match="view"):
        ImageTokens((4, 4), count, (View("global", np.array(tokens), halves, halves),))
