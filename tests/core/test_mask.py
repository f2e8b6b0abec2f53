"""Masks: real instances equal pycocotools bit for bit, all forms agree, malformed text is refused."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask, decode_masks, mask_containment, mask_iou, run_lengths
from tests.core.images import ORIENTATION

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
ARRAYS = SIZES.flatmap(lambda size_hw: hnp.arrays(np.bool_, size_hw)).filter(np.any)


def runs_of(array: NDArray[np.bool_]) -> list[int]:
    """Count equal pixels one by one, column by column."""
    runs, last = [0], False
    for value in array.ravel(order="F").tolist():
        if value != last:
            runs.append(0)
            last = value
        runs[-1] += 1
    return runs


def spelled(runs: list[int]) -> str:
    """Write run lengths as COCO's compressed text, as the COCO API's rleToString does."""
    text = ""
    for index, run in enumerate(runs):
        number = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            group, number = number & 0x1F, number >> 5
            more = number != (-1 if group & 0x10 else 0)
            text += chr((group | 0x20 if more else group) + 48)
    return text


def refusal(segmentation: object, size_hw: tuple[int, int] = (6, 9)) -> tuple[DropReason, str]:
    with pytest.raises(UnusableError) as caught:
        Mask.from_coco(segmentation, size_hw)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_every_real_instance_equals_pycocotools(coco_mini: Path, split: str) -> None:
    coco = COCO(coco_mini / "annotations" / f"instances_{split}.json")
    kinds = []
    for annotation in coco.dataset["annotations"]:
        image = coco.imgs[annotation["image_id"]]
        mask = Mask.from_coco(annotation["segmentation"], (image["height"], image["width"]))
        expected = coco.annToMask(annotation)
        assert (mask.decode() == expected.astype(bool)).all()
        assert mask.area == expected.sum() == coco_mask.area(mask.to_coco())
        assert mask.box_xywh == tuple(coco_mask.toBbox(coco.annToRLE(annotation)))
        flat = np.concatenate([[0], expected.ravel(order="F"), [2]])
        assert np.cumsum(run_lengths(mask.counts)).tolist() == np.flatnonzero(np.diff(flat)).tolist()
        kinds.append(type(annotation["segmentation"]))
    assert len(kinds) == {"train2017": 739, "val2017": 162}[split]
    assert set(kinds) == {list, dict}


@given(ARRAYS)
def test_array_to_mask_and_back(array: NDArray[np.bool_]) -> None:
    mask = Mask.from_array(array)
    assert (mask.decode() == array).all()
    assert mask.decode().dtype == np.bool_
    assert mask.area == array.sum()
    rows, columns = np.nonzero(array)
    box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert mask.box_xywh == box
    assert run_lengths(mask.counts).tolist() == runs_of(array)
    assert mask.counts == spelled(runs_of(array))


POINTS = st.lists(st.floats(-90, 90) | st.integers(-9, 9), min_size=6, max_size=30).filter(
    lambda part: len(part) % 2 == 0
)


@given(st.lists(POINTS, min_size=1, max_size=3), SIZES, st.integers(1, 8))
def test_what_pycocotools_makes_passes_the_check(
    polygons: list[list[float]], size_hw: tuple[int, int], orientation: int
) -> None:
    try:
        mask = Mask.from_polygons(polygons, size_hw)
    except UnusableError:
        assume(False)
    for made in (mask, Mask.from_array(mask.decode()), mask.oriented(orientation)):
        checked = Mask(made.size_hw, made.counts)
        assert checked == made
        assert hash(checked) == hash(made)
        assert (checked.area, checked.box_xywh) == (made.area, made.box_xywh)


def test_only_masks_of_files_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.eye(7, dtype=np.bool_)
    checked: list[str] = []
    monkeypatch.setattr(
        "datasetkit.core.mask.run_lengths", lambda counts: checked.append(counts) or run_lengths(counts)
    )
    mask = Mask.from_array(array)
    Mask.from_polygons([[0, 0, 5, 0, 5, 5, 0, 5]], (7, 7))
    Mask.from_coco({"size": [7, 7], "counts": runs_of(array)}, (7, 7))
    assert checked == []
    assert Mask.from_coco(mask.to_coco(), (7, 7)) == mask
    assert checked == [mask.counts]


@given(ARRAYS)
def test_the_spellings_agree(array: NDArray[np.bool_]) -> None:
    mask = Mask.from_array(array)
    size = list(array.shape)
    for counts in (mask.counts, mask.counts.encode(), runs_of(array)):
        assert Mask.from_coco({"size": size, "counts": counts}, mask.size_hw) == mask


@given(SIZES.flatmap(lambda size_hw: hnp.arrays(np.bool_, size_hw)), st.integers(0, 255))
def test_packed_bits_equal_the_array(array: NDArray[np.bool_], spare: int) -> None:
    height, width = array.shape
    columns = np.packbits(array, axis=0, bitorder="little").T
    columns[:, -1] |= spare << (height - 1) % 8 + 1 & 0xFF  # bits after a column's end may be anything
    before = columns.copy()
    if array.any():
        assert Mask.from_packed(columns, height) == Mask.from_array(array)
    else:
        with pytest.raises(UnusableError, match="covers no pixel"):
            Mask.from_packed(columns, height)
    assert (columns == before).all()
    assert columns.shape == (width, -(-height // 8))


@given(ARRAYS)
def test_columns_of_the_box_are_the_mask(array: NDArray[np.bool_]) -> None:
    mask = Mask.from_array(array)
    left, _, width, _ = (int(side) for side in mask.box_xywh)
    columns = mask.decode_columns()
    assert columns.flags.f_contiguous
    assert columns.flags.writeable
    np.testing.assert_array_equal(columns, array[:, left : left + width])
    assert Mask.from_columns(columns, left, array.shape[1]) == mask
    assert Mask.from_columns(np.ascontiguousarray(array), 0, array.shape[1]) == mask
    with pytest.raises(UnusableError, match="covers no pixel"):
        Mask.from_columns(np.zeros_like(columns), left, array.shape[1])


@pytest.mark.parametrize(
    ("columns", "height"),
    [
        (np.ones((4, 2), dtype=np.uint8), 8),
        (np.ones((4, 2), dtype=np.uint8), 17),
        (np.ones((4, 2), dtype=np.int64), 16),
        (np.ones(4, dtype=np.uint8), 8),
        (np.ones((4, 0), dtype=np.uint8), 0),
    ],
)
def test_packed_bits_of_another_shape_are_refused(columns: NDArray, height: int) -> None:
    with pytest.raises(UnusableError, match=r"give \(W, ceil\(H / 8\)\) uint8"):
        Mask.from_packed(columns, height)


def test_the_polygon_of_a_box_is_the_box() -> None:
    array = np.zeros((6, 9), dtype=np.bool_)
    array[1:4, 2:7] = True
    mask = Mask.from_coco([[2, 1, 7, 1, 7, 4, 2, 4]], (6, 9))
    assert mask == Mask.from_array(array)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=8))
def test_runs_of_no_length_change_nothing(runs: list[int]) -> None:
    total = sum(runs)
    assume(any(runs[1::2]))
    mask = Mask.from_coco({"size": [1, total], "counts": runs}, (1, total))
    naive = np.concatenate([np.full(run, index % 2, dtype=bool) for index, run in enumerate(runs)])
    assert (mask.decode() == naive).all()
    assert mask.area == naive.sum()
    assert mask.box_xywh == Mask.from_array(naive[None]).box_xywh


@settings(max_examples=300)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30), SIZES)
@example("", (1, 1))
@example("o" * 40, (3, 3))
@example("4", (2, 2))
@example("é", (1, 1))
def test_no_text_writes_out_of_bounds(counts: str, size_hw: tuple[int, int]) -> None:
    try:
        mask = Mask(size_hw, counts)
    except UnusableError as error:
        reason = error.reason
    else:
        runs = run_lengths(counts)
        assert runs.min() >= 0
        assert runs.sum() == size_hw[0] * size_hw[1]
        assert mask.decode().sum() == mask.area == runs[1::2].sum() > 0
        return
    assert reason is DropReason.BAD_MASK


@given(st.data(), ARRAYS)
def test_changed_text_writes_nothing_out_of_bounds(data: st.DataObject, array: NDArray[np.bool_]) -> None:
    counts = list(Mask.from_array(array).counts)
    counts[data.draw(st.integers(0, len(counts) - 1))] = chr(data.draw(st.integers(40, 120)))
    test_no_text_writes_out_of_bounds.hypothesis.inner_test("".join(counts), array.shape)


def test_runs_whose_sum_wraps_around_are_refused() -> None:
    step, target = 2**34 - 1, 2**64 + 12
    odd: list[int] = []
    while sum_of_steps(len(odd) + 1) * step <= target:
        odd.append((len(odd) + 1) * step)
    whole, rest = divmod(target - sum(odd), step)
    even = [step] * whole + [rest] + [0] * (len(odd) - whole - 1)
    runs = [0, *(run for pair in zip(odd, even, strict=True) for run in pair)]
    assert sum(runs) == target
    with np.errstate(over="ignore"):
        assert run_lengths(spelled(runs)).sum() == 12
    with pytest.raises(UnusableError, match="run lengths add up to"):
        Mask((3, 4), spelled(runs))


def sum_of_steps(count: int) -> int:
    return count * (count + 1) // 2


@given(st.lists(st.integers(0, 2**33), min_size=1, max_size=20))
def test_any_runs_are_read_as_they_were_written(runs: list[int]) -> None:
    assert run_lengths(spelled(runs)).tolist() == runs


@pytest.mark.parametrize("orientation", range(1, 9))
@given(array=ARRAYS)
def test_turning_a_mask_is_turning_its_image(array: NDArray[np.bool_], orientation: int) -> None:
    image = Image.fromarray(array.astype(np.uint8))
    image.getexif()[ORIENTATION] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image)).astype(bool)
    assert (Mask.from_array(array).oriented(orientation).decode() == upright).all()


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], DropReason.BAD_POLYGON),
        ([[]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 5]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5, 5, 1]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5, None]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5, "5"]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5, float("nan")]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5, float("inf")]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5, 10**400]], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5, 1e9]], DropReason.BAD_POLYGON),
        ([1, 1, 5, 1, 5, 5], DropReason.BAD_POLYGON),
        ([[1, 1, 5, 1, 5, 5], "x"], DropReason.BAD_POLYGON),
        ([[20, 20, 25, 20, 25, 25]], DropReason.OUTSIDE_IMAGE),
        ([[-9, -9, -5, -9, -5, -5]], DropReason.OUTSIDE_IMAGE),
        (None, DropReason.BAD_MASK),
        ("text", DropReason.BAD_MASK),
        ({}, DropReason.BAD_MASK),
        ({"size": [6, 9]}, DropReason.BAD_MASK),
        ({"size": 6, "counts": [0, 54]}, DropReason.BAD_MASK),
        ({"size": None, "counts": [0, 54]}, DropReason.BAD_MASK),
        ({"size": [9, 6], "counts": [0, 54]}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": 54}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": []}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": [54]}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": [0, 53]}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": [0, 55]}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": [-1, 55]}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": [0, 54.0]}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": [0, 2**64]}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": ""}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": "\udcff"}, DropReason.BAD_MASK),
        ({"size": [6, 9], "counts": b"\xff\xfe"}, DropReason.BAD_MASK),
    ],
)
def test_a_segmentation_that_cannot_be_used_says_why(segmentation: object, reason: DropReason) -> None:
    came, detail = refusal(segmentation)
    assert came is reason
    assert detail
    assert "\n" not in detail


def test_a_message_names_what_came_and_what_was_allowed() -> None:
    assert "4 numbers" in refusal([[1, 1, 5, 5]])[1]
    assert "three points" in refusal([[1, 1, 5, 5]])[1]
    assert "54" in refusal({"size": [6, 9], "counts": [0, 53]})[1]


@pytest.mark.parametrize("size_hw", [(0, 5), (5, 0), (-1, -5), (2**16, 2**16)])
def test_a_size_that_no_mask_can_have(size_hw: tuple[int, int]) -> None:
    with pytest.raises(UnusableError, match="mask size"):
        Mask(size_hw, spelled([0, size_hw[0] * size_hw[1]]))


@pytest.mark.parametrize("array", [np.zeros((2, 3, 1), bool), np.ones((2, 3), np.uint8), np.zeros((2, 3), bool)])
def test_an_array_that_is_no_mask(array: NDArray) -> None:
    with pytest.raises(UnusableError) as caught:
        Mask.from_array(array)
    assert caught.value.reason is DropReason.BAD_MASK


def test_polygons_far_beyond_the_image_are_cut_at_its_border() -> None:
    mask = Mask.from_coco([[-50, -50, 100, -50, 100, 100, -50, 100]], (6, 9))
    assert mask.area == 54


def test_decoding_several() -> None:
    array = np.eye(5, dtype=bool)
    masks = [Mask.from_array(array), Mask.from_array(~array)]
    assert decode_masks([], (4, 7)).shape == (0, 4, 7)
    assert decode_masks([], (4, 7)).dtype == np.bool_
    assert (decode_masks(masks, (5, 5)) == np.stack([array, ~array])).all()
    with pytest.raises(ValueError, match="among masks"):
        decode_masks(masks, (5, 6))


def test_intersection_over_union_of_every_pair() -> None:
    masks = [Mask.from_coco([[0, 0, width, 0, width, 4, 0, 4]], (4, 8)) for width in (2, 4, 8)]
    expected = [[min(a, b) / max(a, b) for b in (2, 4, 8)] for a in (2, 4, 8)]
    assert mask_iou(masks, masks).tolist() == expected
    assert mask_iou([], masks).shape == (0, 3)
    assert mask_iou(masks, []).shape == (3, 0)


def test_containment_of_every_pair() -> None:
    masks = [Mask.from_coco([[0, 0, width, 0, width, 4, 0, 4]], (4, 8)) for width in (2, 4, 8)]
    assert mask_containment(masks, masks).tolist() == [[min(a, b) / a for b in (2, 4, 8)] for a in (2, 4, 8)]
    apart = Mask.from_coco([[4, 0, 8, 0, 8, 4, 4, 4]], (4, 8))
    assert mask_containment(masks, [apart]).tolist() == [[0.0], [0.0], [0.5]]
    assert mask_containment([], masks).shape == (0, 3)
    assert mask_containment(masks, []).shape == (3, 0)


def test_a_mask_goes_through_json() -> None:
    mask = Mask.from_array(np.eye(7, dtype=bool))
    assert Mask.from_coco(json.loads(json.dumps(mask.to_coco())), (7, 7)) == mask


@pytest.mark.parametrize("size_hw", list(product((1, 2, 5), repeat=2)))
def test_whole_and_single_pixel_masks(size_hw: tuple[int, int]) -> None:
    whole = Mask.from_array(np.ones(size_hw, dtype=bool))
    assert (whole.area, whole.box_xywh) == (size_hw[0] * size_hw[1], (0, 0, size_hw[1], size_hw[0]))
    corner = np.zeros(size_hw, dtype=bool)
    corner[-1, -1] = True
    assert Mask.from_array(corner).box_xywh == (size_hw[1] - 1, size_hw[0] - 1, 1, 1)
