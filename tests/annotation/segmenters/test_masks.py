from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from datasetkit.annotation.segmenters.masks import resize, scale_boxes, segment_of, stability_score, unpad


def test_boxes_scale_with_the_image() -> None:
    boxes = np.array([[0.0, 0.0, 200.0, 100.0], [50.0, 25.0, 100.0, 50.0]])
    scaled = scale_boxes(boxes, (100, 200), (32, 64))
    np.testing.assert_allclose(scaled, [[0, 0, 64, 32], [16, 8, 32, 16]])
    assert scale_boxes(np.zeros((0, 4)), (5, 6), (7, 8)).shape == (0, 4)


def test_padding_is_cut_off_right_and_bottom() -> None:
    logits = torch.full((8, 8), -5.0)
    logits[:4] = 5.0
    # The image fills the upper half of the input, so the mask covers all of the image.
    assert (resize(unpad(logits, (32, 32), (14, 32)), (28, 64)) > 0).all()
    assert unpad(logits, (32, 32), (14, 32)).shape == (14, 32)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[2.0, 0.5, -0.5, -2.0]], 0.333333),
        ([[2.0, 3.0]], 1.0),
        ([[0.0, 1.0]], 0.0),
        ([[-1.0, -3.0]], None),
    ],
)
def test_stability_is_the_iou_of_both_cuts(values: list[list[float]], expected: float | None) -> None:
    assert stability_score(torch.tensor(values)) == expected


@pytest.mark.parametrize(
    ("given", "expected"), [(0.12345678, 0.123457), (1.02, 1.0), (-0.1, 0.0), (None, None), (math.nan, None)]
)
def test_scores_are_clipped_to_their_range(given: float | None, expected: float | None) -> None:
    segment = segment_of(torch.tensor([[2.0, -2.0], [0.0, 0.5]]), given)
    assert segment.predicted_iou == expected
    assert segment.mask is not None
    np.testing.assert_array_equal(segment.mask.decode(), [[True, False], [False, True]])
    assert segment.stability == 0.333333


def test_empty_mask_is_none() -> None:
    segment = segment_of(torch.tensor([[-0.5, -2.0]]), 0.9)
    assert (segment.mask, segment.predicted_iou, segment.stability) == (None, 0.9, 0.0)
