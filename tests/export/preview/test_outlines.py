"""Outlines are checked by drawing them: evenodd filling of the path must restore the mask."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline

from datasetkit.core.mask import Mask
from datasetkit.export.preview.outlines import UNITS_PER_PX, inner_point, mask_coverage, simplify_ring, svg_path


def rings_of(path: str) -> list[np.ndarray]:
    """The path's rings, each of shape (N, 2), x and y in px."""
    assert re.fullmatch(r"(M\d+ \d+l[-\d ]+z)+", path)
    rings = []
    for ring in path.split("z")[:-1]:
        start, steps = ring.removeprefix("M").split("l")
        values = [int(value) for text in (start, steps) for value in re.findall(r"-?\d+", text)]
        rings.append(np.cumsum(np.array(values).reshape(-1, 2), axis=0) / UNITS_PER_PX)
    return rings


def filled(path: str, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie inside an odd number of rings, shape (H, W), dtype bool."""
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    inside = np.zeros(len(centres), dtype=bool)
    for ring in rings_of(path):
        inside ^= Outline(np.vstack([ring, ring[:1]])).contains_points(centres)
    return inside.reshape(size_hw)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


def test_holes_and_parts_survive():
    mask = np.zeros((60, 80), dtype=bool)
    mask[5:55, 5:45] = True
    mask[20:40, 15:35] = False
    mask[27:33, 22:28] = True
    mask[10:30, 60:80] = True
    path = svg_path(mask_coverage(Mask.from_array(mask), (80, 60)))
    assert len(rings_of(path)) == 4
    assert iou(filled(path, mask.shape), mask) > 0.97
    assert not filled(path, mask.shape)[22:26, 17:21].any()


def test_mask_at_the_borders_reaches_them():
    path = svg_path(np.ones((7, 9), dtype=np.float32))
    (ring,) = rings_of(path)
    assert ring.min(axis=0).tolist() == [0, 0]
    assert ring.max(axis=0).tolist() == [9, 7]


@pytest.mark.parametrize("size_wh", [(320, 240), (40, 30), (3, 2)])
def test_one_pixel_always_shows(size_wh):
    mask = np.zeros((120, 160), dtype=bool)
    mask[60, 80] = True
    assert rings_of(svg_path(mask_coverage(Mask.from_array(mask), size_wh)))


def test_path_keeps_within_tolerance_of_a_round_mask():
    rows, columns = np.mgrid[:200, :200] - 99.5
    mask = np.hypot(rows, columns) < 80
    path = svg_path(mask_coverage(Mask.from_array(mask), (200, 200)))
    assert iou(filled(path, mask.shape), mask) > 0.98
    assert len(rings_of(path)[0]) < 60


@given(arrays(np.bool_, (12, 16)).filter(np.any))
def test_any_mask_has_an_outline_inside_the_image(mask):
    for ring in rings_of(svg_path(mask_coverage(Mask.from_array(mask), (32, 24)))):
        assert ring.min() >= 0
        assert (ring.max(axis=0) <= [32, 24]).all()


def test_real_masks_survive(coco_mini):
    from pycocotools.coco import COCO

    coco = COCO(str(coco_mini / "annotations" / "instances_val2017.json"))
    for annotation in coco.loadAnns(coco.getAnnIds()[::8]):
        mask = coco.annToMask(annotation).astype(bool)
        if mask.sum() < 400:
            continue
        path = svg_path(mask_coverage(Mask.from_array(mask), mask.shape[::-1]))
        assert iou(filled(path, mask.shape), mask) > 0.9, annotation["id"]


def test_label_stands_inside_a_bent_mask():
    mask = np.zeros((50, 100), dtype=bool)
    mask[:, :12] = mask[:, 88:] = mask[40:, :] = True
    x, y = inner_point(mask_coverage(Mask.from_array(mask), (100, 50)))
    assert mask[int(y * 50), int(x * 100)]


def test_simplify_keeps_corners_and_drops_the_rest():
    square = [(x, 0) for x in range(10)] + [(10, y) for y in range(10)]
    square += [(x, 10) for x in range(10, 0, -1)] + [(0, y) for y in range(10, -1, -1)]
    kept = simplify_ring(np.array(square, dtype=np.float64), 0.5)
    assert kept.tolist() == [[0, 0], [10, 0], [10, 10], [0, 10]]
