"""Filters: each decides by its own value, the first that fails is the reason, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.annotation.filters import apply_filters
from datasetkit.core.detections import Region, Removal
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask
from datasetkit.options.grounding import FilterOptions
from tests.annotation.strategies import UNIT, regions

OFF = {
    "detection_min": 0.0,
    "predicted_iou_min": 0.0,
    "stability_min": 0.0,
    "similarity_min": 0.0,
    "cleaning_iou_min": 0.0,
    "area_share_min": 0.0,
    "box_share_max": 1.0,
}
# A quarter of the image's pixels in a box of three quarters.
REGION = Region(
    number=5,
    box_xyxy=(0.0, 0.0, 3.0, 4.0),
    phrase_scores=(0.25, 0.5),
    mask=Mask.from_run_lengths([0, 4, 12], (4, 4)),
    predicted_iou=0.5,
    stability=0.5,
    cleaning_iou=0.5,
    similarity=0.5,
)
LIMITS = st.fixed_dictionaries(dict.fromkeys(OFF, UNIT))


@pytest.mark.parametrize(
    ("option", "passes", "fails", "reason", "detail"),
    [
        ("detection_min", 0.5, 0.51, DropReason.LOW_DETECTION, "0.5; at least 0.51 is required"),
        ("predicted_iou_min", 0.5, 0.75, DropReason.LOW_PREDICTED_IOU, "0.5; at least 0.75 is required"),
        ("stability_min", 0.5, 0.75, DropReason.LOW_STABILITY, "0.5; at least 0.75 is required"),
        ("similarity_min", 0.5, 0.75, DropReason.LOW_SIMILARITY, "0.5; at least 0.75 is required"),
        ("cleaning_iou_min", 0.5, 0.75, DropReason.LOW_CLEANING_IOU, "0.5; at least 0.75 is required"),
        ("area_share_min", 0.25, 0.26, DropReason.TOO_SMALL, "0.25; at least 0.26 is required"),
        ("box_share_max", 0.75, 0.7, DropReason.WHOLE_IMAGE, "0.75; at most 0.7 is required"),
    ],
)
def test_each_filter_uses_its_value(option: str, passes: float, fails: float, reason: DropReason, detail: str) -> None:
    assert apply_filters([REGION], FilterOptions(**OFF | {option: passes})) == ((REGION,), ())
    assert apply_filters([REGION], FilterOptions(**OFF | {option: fails})) == ((), (Removal(5, reason, detail),))


def test_first_failing_filter_is_the_reason() -> None:
    strict = dict.fromkeys(OFF, 1.0) | {"box_share_max": 0.0}
    found = []
    for option in ("box_share_max", "area_share_min", "detection_min", "predicted_iou_min", "stability_min"):
        found.append(apply_filters([REGION], FilterOptions(**strict))[1][0].reason)
        strict[option] = OFF[option]
    assert found == [
        DropReason.WHOLE_IMAGE,
        DropReason.TOO_SMALL,
        DropReason.LOW_DETECTION,
        DropReason.LOW_PREDICTED_IOU,
        DropReason.LOW_STABILITY,
    ]


def test_unmeasured_value_passes() -> None:
    bare = replace(REGION, predicted_iou=None, stability=None, cleaning_iou=None, similarity=None)
    limits = dict.fromkeys(("predicted_iou_min", "stability_min", "cleaning_iou_min", "similarity_min"), 1.0)
    assert apply_filters([bare], FilterOptions(**OFF | limits)) == ((bare,), ())


@given(regions(), LIMITS)
def test_every_region_stays_or_has_one_reason(found: tuple[Region, ...], limits: dict[str, Any]) -> None:
    kept, removals = apply_filters(found, FilterOptions(**limits))
    assert sorted([item.number for item in (*kept, *removals)]) == [item.number for item in found]
    assert [item for item in found if item in kept] == list(kept)
    assert apply_filters(kept, FilterOptions(**limits)) == (kept, ())


@given(regions())
def test_open_limits_keep_everything(found: tuple[Region, ...]) -> None:
    assert apply_filters(found, FilterOptions(**OFF)) == (found, ())
