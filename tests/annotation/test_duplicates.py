"""Duplicates, groups and parts: small images drawn by hand, and properties for any regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.annotation.duplicates import merge_masks
from datasetkit.core.detections import Region, Removal
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask
from datasetkit.options.grounding import DuplicateOptions
from tests.annotation.strategies import UNIT, regions

CAT, DOG = (0.9, 0.1), (0.1, 0.9)
OPTIONS = DuplicateOptions(mask_iou=0.8, containment=0.9, group_members=2, groups="drop")


def region(number: int, columns: tuple[int, int], scores: Sequence[float], rows: tuple[int, int] = (0, 10)) -> Region:
    """Make a box-shaped region in an image of 40 x 40 px."""
    array = np.zeros((40, 40), dtype=np.bool_)
    array[slice(*rows), slice(*columns)] = True
    box = (float(columns[0]), float(rows[0]), float(columns[1]), float(rows[1]))
    return Region(number, box, tuple(scores), Mask.from_array(array))


def reasons(removals: Sequence[Removal]) -> dict[int, tuple[DropReason, str]]:
    return {item.number: (item.reason, item.detail) for item in removals}


def numbers(items: Sequence[Region | Removal]) -> list[int]:
    return [item.number for item in items]


def test_no_regions_stay_no_regions() -> None:
    assert merge_masks((), OPTIONS) == ((), ())


def test_equal_masks_are_merged_across_phrases() -> None:
    kept, removals = merge_masks([region(4, (0, 10), (0.5, 0.6)), region(7, (0, 9), (0.9, 0.2))], OPTIONS)
    assert numbers(kept) == [7]
    assert kept[0].phrase_scores == (0.9, 0.6)
    assert reasons(removals) == {4: (DropReason.DUPLICATE_MASK, "IoU 0.90 with the mask of box 7")}


def test_part_is_removed_with_its_scores() -> None:
    kept, removals = merge_masks([region(1, (0, 10), (0.9, 0.1)), region(2, (0, 5), (0.8, 0.7))], OPTIONS)
    assert [item.phrase_scores for item in kept] == [(0.9, 0.1)]
    assert reasons(removals) == {2: (DropReason.CONTAINED_MASK, "share 1.00 is within the mask of box 1")}


@pytest.mark.parametrize(
    ("outer", "inner", "columns", "why"),
    [
        (CAT, DOG, (0, 5), "another phrase"),
        ((0.8, 0.1), (0.9, 0.1), (0, 5), "the better one"),
        (CAT, CAT, (8, 16), "too little of it is within"),
    ],
)
def test_region_that_is_not_a_part_stays(
    outer: Sequence[float], inner: Sequence[float], columns: tuple[int, int], why: str
) -> None:
    kept, removals = merge_masks([region(0, (0, 10), outer), region(1, columns, inner)], OPTIONS)
    assert (numbers(kept), removals) == ([0, 1], ()), why


HERD = (region(0, (0, 10), (0.6, 0)), region(1, (10, 20), (0.5, 0)), region(2, (0, 20), (0.9, 0)))


def test_group_is_removed_before_its_members() -> None:
    kept, removals = merge_masks(HERD, OPTIONS)
    assert numbers(kept) == [0, 1]
    assert reasons(removals) == {2: (DropReason.GROUP_BOX, "contains 2 others of its phrase")}


def test_group_may_stay_with_its_members() -> None:
    kept, removals = merge_masks(HERD, OPTIONS.model_copy(update={"groups": "keep"}))
    assert [(item.number, item.is_group) for item in kept] == [(0, False), (1, False), (2, True)]
    assert removals == ()


def test_group_needs_enough_members() -> None:
    kept, removals = merge_masks(HERD, OPTIONS.model_copy(update={"group_members": 3}))
    assert numbers(kept) == [2]
    assert {reason for reason, _ in reasons(removals).values()} == {DropReason.CONTAINED_MASK}


def test_duplicate_is_one_member() -> None:
    """Two masks of one cat inside a larger mask of it are not a herd."""
    found = [region(0, (0, 10), (0.6, 0)), region(1, (0, 9), (0.5, 0)), region(2, (0, 20), (0.9, 0))]
    kept, removals = merge_masks(found, OPTIONS)
    assert numbers(kept) == [2]
    assert {number: reason for number, (reason, _) in reasons(removals).items()} == {
        1: DropReason.DUPLICATE_MASK,
        0: DropReason.CONTAINED_MASK,
    }


def test_nested_members_count_once() -> None:
    """A cat, its head and its ear are not a herd."""
    found = [region(0, (0, 20), (0.9, 0)), region(1, (0, 10), (0.6, 0)), region(2, (0, 4), (0.5, 0))]
    kept, removals = merge_masks(found, OPTIONS)
    assert numbers(kept) == [0]
    assert {reason for reason, _ in reasons(removals).values()} == {DropReason.CONTAINED_MASK}


def test_members_of_other_phrases_do_not_count() -> None:
    found = [region(0, (0, 10), CAT), region(1, (10, 20), DOG), region(2, (0, 20), (0.95, 0))]
    kept, removals = merge_masks(found, OPTIONS)
    assert numbers(kept) == [1, 2]
    assert reasons(removals)[0][0] is DropReason.CONTAINED_MASK


def test_groups_within_a_group() -> None:
    """Four sheep found one by one, in pairs and all at once; also if the outer mask contains only one pair."""
    sheep = [region(place, (10 * place, 10 * place + 10), (0.5, 0)) for place in range(4)]
    pairs = [region(4, (0, 20), (0.6, 0)), region(5, (20, 40), (0.6, 0))]
    kept, removals = merge_masks([*sheep, *pairs, region(6, (0, 40), (0.7, 0))], OPTIONS)
    assert numbers(kept) == [0, 1, 2, 3]
    assert reasons(removals)[6] == (DropReason.GROUP_BOX, "contains 4 others of its phrase")
    kept, removals = merge_masks([*sheep[:2], pairs[0], region(6, (0, 40), (0.7, 0))], OPTIONS)
    assert numbers(kept) == [0, 1]
    assert set(reasons(removals)) == {4, 6}


@given(regions(), UNIT, UNIT, st.sampled_from([2, 3]), st.sampled_from(["drop", "keep"]))
def test_nothing_is_lost_and_no_score_drops(
    found: tuple[Region, ...], mask_iou: float, containment: float, group_members: int, groups: Any
) -> None:
    changes = {"mask_iou": mask_iou, "containment": containment, "group_members": group_members, "groups": groups}
    kept, removals = merge_masks(found, DuplicateOptions(**changes))
    assert sorted([*numbers(kept), *numbers(removals)]) == numbers(found)
    assert numbers(kept) == sorted(numbers(kept))
    before = {item.number: item for item in found}
    for item in kept:
        assert item.mask is before[item.number].mask
        pairs = list(zip(item.phrase_scores, before[item.number].phrase_scores, strict=True))
        assert all(now >= was for now, was in pairs)
        assert item.score == before[item.number].score, "a duplicate is never better than what stays for it"
    assert groups == "keep" or not any(item.is_group for item in kept)
    assert groups == "drop" or DropReason.GROUP_BOX not in {item.reason for item in removals}


@given(regions())
@pytest.mark.slow
def test_remaining_regions_have_no_duplicate_or_part(found: tuple[Region, ...]) -> None:
    kept, _ = merge_masks(found, OPTIONS)
    again, removals = merge_masks(kept, OPTIONS)
    reasons = {item.reason for item in removals}
    assert not reasons & {DropReason.DUPLICATE_MASK, DropReason.GROUP_BOX}
    assert len(again) == len(kept)
