"""Outputs of models are checked at construction: shape, dtype, order and range, with the value in the message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from datasetkit.core.detections import Detections, Grounding, Region, Removal, Segment
from datasetkit.core.errors import RecordError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask

ONE = Mask.from_array(np.eye(4, dtype=np.bool_))
BOX = [0.0, 1.0, 2.0, 3.0]


def region(number: int = 0, **changes: Any) -> Region:
    return Region(**{"number": number, "box_xyxy": tuple(BOX), "phrase_scores": (0.0, 1.0), "mask": ONE} | changes)


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [
        (np.zeros((0, 4)), np.zeros((0, 0))),
        (np.zeros((0, 4)), np.zeros((0, 3))),
        (np.array([BOX]), np.array([[0.0, 1.0]])),
        (np.array([BOX, BOX]), np.zeros((2, 0))),
    ],
)
def test_detections_of_that_form_are_taken(boxes: np.ndarray, scores: np.ndarray) -> None:
    assert Detections(boxes, scores).boxes_xyxy is boxes


@pytest.mark.parametrize(
    ("boxes", "scores", "message"),
    [
        (np.array(BOX), np.zeros((1, 1)), r"shape \(4,\)"),
        (np.zeros((1, 5)), np.zeros((1, 1)), r"shape \(1, 5\)"),
        (np.array([BOX], dtype=np.float32), np.zeros((1, 1)), "boxes are float32"),
        (np.array([BOX, [2.0, 1.0, 2.0, 3.0]]), np.zeros((2, 1)), r"box \[2.0, 1.0, 2.0, 3.0\] is not valid"),
        (np.array([[0.0, 3.0, 2.0, 1.0]]), np.zeros((1, 1)), "is not valid"),
        (np.array([[-1.0, 0.0, 2.0, 1.0]]), np.zeros((1, 1)), "is not valid"),
        (np.array([[0.0, np.nan, 2.0, 1.0]]), np.zeros((1, 1)), "is not valid"),
        (np.array([[0.0, 0.0, np.inf, 1.0]]), np.zeros((1, 1)), "is not valid"),
        (np.array([BOX]), np.zeros(1), r"scores have shape \(1,\)"),
        (np.array([BOX]), np.zeros((2, 1)), r"scores have shape \(2, 1\); 1 boxes"),
        (np.array([BOX]), np.array([[0.5, 1.5]]), "scores contain 1.5"),
        (np.array([BOX]), np.array([[-0.5]]), "scores contain -0.5"),
        (np.array([BOX]), np.array([[np.nan]]), "scores contain nan"),
    ],
)
def test_detections_of_another_form_are_refused(boxes: np.ndarray, scores: np.ndarray, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        Detections(boxes, scores)


@pytest.mark.parametrize(("mask", "iou", "stability"), [(None, None, None), (ONE, 0.0, 1.0)])
def test_segments_of_that_form_are_taken(mask: Mask | None, iou: float | None, stability: float | None) -> None:
    assert Segment(mask, iou, stability).mask is mask


@pytest.mark.parametrize(
    ("mask", "iou", "stability", "message"),
    [
        (ONE, 1.01, None, "predicted_iou is 1.01"),
        (None, None, -0.1, "stability is -0.1"),
        (ONE, float("nan"), None, "predicted_iou is nan"),
    ],
)
def test_segments_of_another_form_are_refused(
    mask: Mask | None, iou: float | None, stability: float | None, message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        Segment(mask, iou, stability)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": -1}, "number is -1"),
        ({"box_xyxy": (2.0, 0.0, 1.0, 1.0)}, "is not valid"),
        ({"phrase_scores": (0.5, 9.0)}, "phrase_scores contain 9"),
        ({"predicted_iou": 2.0}, "predicted_iou is 2"),
        ({"stability": -1.0}, "stability is -1"),
        ({"cleaning_iou": 1.5}, "cleaning_iou is 1.5"),
        ({"similarity": float("nan")}, "similarity is nan"),
    ],
)
def test_regions_of_another_form_are_refused(changes: dict[str, Any], message: str) -> None:
    assert region().score == 1.0
    with pytest.raises(RecordError, match=message):
        region(**changes)


@pytest.mark.parametrize(
    ("regions", "removed", "message"),
    [
        ((region(1), region(0)), (), r"in order.*\[1, 0\]"),
        ((region(1), region(1)), (), "in order"),
        ((region(0), region(1)), (1,), r"once; the numbers are \[0, 1, 1\]"),
        ((), (2, 2), "once"),
        ((region(0), region(1, phrase_scores=(0.5,))), (), "one score per phrase"),
    ],
)
def test_groundings_that_contradict_themselves_are_refused(
    regions: tuple[Region, ...], removed: tuple[int, ...], message: str
) -> None:
    assert Grounding((region(0), region(2)), (Removal(1, DropReason.EMPTY_MASK, ""),)).notices == ()
    with pytest.raises(RecordError, match=message):
        Grounding(regions, tuple(Removal(number, DropReason.EMPTY_MASK, "") for number in removed))
