"""Rows as samples: which objects count, which phrases name them, and the reasons of refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask
from datasetkit.hi_scoring.data.samples import sample_of

SIZE_HW = (4, 6)


def mask(column: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    pixels = np.zeros(SIZE_HW, bool)
    pixels[:, column] = True
    return pixels


def item(number: int, *, is_key: bool = True, is_crowd: bool = False) -> dict[str, Any]:
    return {"id": number, "mask": Mask.from_array(mask(number)).to_coco(), "is_key": is_key, "is_crowd": is_crowd}


def phrase(start: int, end: int, *ids: int, status: str = "matched") -> dict[str, Any]:
    return {"start": start, "end": end, "object_ids": list(ids), "status": status}


def row(**more: Any) -> dict[str, Any]:
    return {
        "record_id": "r",
        "image": Image.new("RGB", SIZE_HW[::-1]),
        "description": "a cat and two dogs",
        "objects": [item(0), item(1), item(2)],
        "phrases": [phrase(0, 5, 0), phrase(10, 18, 1, 2)],
    } | more


def test_objects_are_those_named_by_matched_phrases() -> None:
    sample = sample_of(row(), "other")
    assert sample.record_id == "r"
    assert [mention.span for mention in sample.mentions] == [(0, 5), (10, 18)]
    assert [mention.objects for mention in sample.mentions] == [(0,), (1, 2)]
    assert np.array_equal(sample.masks, np.stack([mask(0), mask(1), mask(2)]))


@pytest.mark.parametrize(
    ("more", "kept", "mentioned"),
    [
        ({"objects": [item(0), item(1, is_crowd=True), item(2)]}, [0, 2], [(0,), (1,)]),
        ({"objects": [item(0, is_key=False), item(1), item(2)]}, [1, 2], [(0, 1)]),
        ({"phrases": [phrase(10, 18, 2, status="ambiguous"), phrase(0, 5, 1)]}, [1], [(0,)]),
        ({"phrases": [phrase(0, 5, 2), phrase(10, 18, 0, 2)]}, [0, 2], [(1,), (0, 1)]),
    ],
)
def test_crowds_and_unmatched_phrases_do_not_count(
    more: dict[str, Any], kept: list[int], mentioned: list[tuple[int, ...]]
) -> None:
    sample = sample_of(row(**more), "r")
    assert np.array_equal(sample.masks, np.stack([mask(number) for number in kept]))
    assert [mention.objects for mention in sample.mentions] == mentioned


@pytest.mark.parametrize(
    "columns",
    [
        {"masks": [mask(1), mask(3)]},
        {"masks": np.stack([mask(1), mask(3)])},
        {"masks": [Image.fromarray(mask(number).astype(np.uint8) * 255) for number in (1, 3)]},
        {"masks": [Mask.from_array(mask(number)).to_coco() for number in (1, 3)]},
        {"objects": [{"mask": Mask.from_array(mask(number)).to_coco()} for number in (1, 3)]},
    ],
)
@pytest.mark.parametrize("text", ["description", "caption", "text"])
def test_row_with_image_text_and_masks_is_a_sample(columns: dict[str, Any], text: str) -> None:
    sample = sample_of({"image": Image.new("L", SIZE_HW[::-1]), text: "two things", **columns}, "row-7")
    assert (sample.record_id, sample.text, sample.mentions) == ("row-7", "two things", ())
    assert sample.image.mode == "RGB"
    assert np.array_equal(sample.masks, np.stack([mask(1), mask(3)]))


def test_mask_column_is_one_object() -> None:
    sample = sample_of({"image": Image.new("RGB", SIZE_HW[::-1]), "text": "it", "mask": mask(5)}, "r")
    assert np.array_equal(sample.masks, mask(5)[None])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"image": None}, DropReason.BAD_ROW),
        ({"description": " "}, DropReason.NO_DESCRIPTION),
        ({"description": None}, DropReason.NO_DESCRIPTION),
        ({"phrases": []}, DropReason.NO_KEY_OBJECT),
        ({"objects": []}, DropReason.NO_KEY_OBJECT),
        ({"image": Image.new("RGB", (5, 5))}, DropReason.BAD_MASK),
    ],
)
def test_unscorable_rows_have_a_reason(more: dict[str, Any], reason: DropReason) -> None:
    with pytest.raises(UnusableError) as error:
        sample_of(row(**more), "r")
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ([], "the column masks holds no mask"),
        ([mask(1), np.zeros(SIZE_HW)], "a mask that is zero everywhere"),
        ([np.ones((*SIZE_HW, 3))], r"a mask of shape \(4, 6, 3\); give \(height, width\)"),
        ([np.ones((5, 5))], r"a mask of \(5, 5\) px \(height, width\) on an image of \(4, 6\)"),
    ],
    ids=["none", "empty", "colours", "size"],
)
def test_faulty_masks_are_described(masks: list[Any], told: str) -> None:
    with pytest.raises(UnusableError, match=told):
        sample_of({"image": Image.new("RGB", SIZE_HW[::-1]), "text": "it", "masks": masks}, "r")


def test_row_without_masks_lists_mask_columns() -> None:
    with pytest.raises(UnusableError, match="objects, masks, mask"):
        sample_of({"image": Image.new("RGB", SIZE_HW[::-1]), "text": "it"}, "r")
