"""From logits to packed rows to segments: equal to a definition mask by mask, for any size and chunk."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn import functional

from datasetkit.annotation.segmenters import masks
from datasetkit.annotation.segmenters.masks import Size, pack_masks, resize, scale_boxes, unpad
from datasetkit.annotation.segmenters.packed import HEADER, read_packed
from datasetkit.core.detections import Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask
from tests.annotation.segmenters.syncs import Syncs

NAN, INF = math.nan, math.inf
SIDES = st.integers(1, 20) | st.sampled_from([24, 33, 64, 90])
SIZES = st.tuples(SIDES, SIDES)


def segments_of(
    logits: torch.Tensor, predicted_ious: list[float], size_hw: Size, padding: tuple[Size, Size] | None = None
) -> list[Segment | UnusableError]:
    rows = pack_masks(logits, torch.tensor(predicted_ious), size_hw, padding=padding)
    return read_packed(torch.stack(rows).numpy(), size_hw)


def segment_of(
    logits: torch.Tensor, predicted_iou: float, size_hw: Size, padding: tuple[Size, Size] | None = None
) -> Segment | UnusableError:
    """Make a segment from one mask's logits, shape (h, w), step by step, as the definition says."""

    def resized(one: torch.Tensor, size: Size) -> torch.Tensor:
        return functional.interpolate(one[None, None], size, mode="bilinear", align_corners=False)[0, 0]

    if padding is not None:
        padded_hw, (height, width) = padding
        logits = resized(logits, padded_hw)[:height, :width]
    full = resized(logits, size_hw).numpy()
    if not np.isfinite(full).all():
        return UnusableError(DropReason.NOT_FINITE, "the segmenter's mask logits are not finite")
    higher, lower = int((full > 1).sum()), int((full > -1).sum())
    return Segment(
        Mask.from_array(full > 0) if (full > 0).any() else None,
        round(min(max(predicted_iou, 0.0), 1.0), 6) if math.isfinite(predicted_iou) else None,
        round(higher / lower, 6) if lower else None,
    )


def assert_equal(got: list[Segment | UnusableError], expected: list[Segment | UnusableError]) -> None:
    for one, other in zip(got, expected, strict=True):
        if isinstance(other, UnusableError):
            assert isinstance(one, UnusableError)
            assert (one.reason, one.detail) == (other.reason, other.detail)
        else:
            assert one == other


def test_boxes_scale_with_the_image() -> None:
    boxes = np.array([[0.0, 0.0, 200.0, 100.0], [50.0, 25.0, 100.0, 50.0]])
    scaled = scale_boxes(boxes, (100, 200), (32, 64))
    np.testing.assert_allclose(scaled, [[0, 0, 64, 32], [16, 8, 32, 16]])
    assert scale_boxes(np.zeros((0, 4)), (5, 6), (7, 8)).shape == (0, 4)


def test_padding_is_cut_off_right_and_bottom() -> None:
    logits = torch.full((1, 8, 8), -5.0)
    logits[:, :4] = 5.0
    # The image fills the upper half of the input, so the mask covers all of the image.
    assert (resize(unpad(logits, (32, 32), (14, 32)), (28, 64)) > 0).all()
    assert unpad(logits, (32, 32), (14, 32)).shape == (1, 14, 32)


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
    (segment,) = segments_of(torch.tensor([values]), [0.5], (1, len(values[0])))
    assert isinstance(segment, Segment)
    assert segment.stability == expected


@pytest.mark.parametrize(
    ("given", "expected"), [(0.12345678, 0.123457), (1.02, 1.0), (-0.1, 0.0), (NAN, None), (-INF, None)]
)
def test_scores_are_clipped_to_their_range(given: float, expected: float | None) -> None:
    (segment,) = segments_of(torch.tensor([[[2.0, -2.0], [0.0, 0.5]]]), [given], (2, 2))
    assert isinstance(segment, Segment)
    assert segment.predicted_iou == expected
    assert segment.mask is not None
    np.testing.assert_array_equal(segment.mask.decode(), [[True, False], [False, True]])
    assert segment.stability == 0.333333


def test_empty_mask_is_none() -> None:
    (segment,) = segments_of(torch.tensor([[[-0.5, -2.0]]]), [0.5], (1, 2))
    assert segment == Segment(None, 0.5, 0.0)


@pytest.mark.parametrize("wrong", [NAN, INF, -INF])
@pytest.mark.parametrize("place", [(0, 0), (7, 4), (12, 10)])
def test_one_mask_that_is_not_finite_spoils_no_other(wrong: float, place: tuple[int, int]) -> None:
    logits = torch.randn(3, 13, 11, generator=torch.Generator().manual_seed(0)) * 3
    expected = segments_of(logits, [0.1, 0.2, 0.3], (13, 11))
    logits[(1, *place)] = wrong
    first, second, third = segments_of(logits, [0.1, 0.2, 0.3], (13, 11))
    assert [first, third] == [expected[0], expected[2]]
    assert isinstance(second, UnusableError)
    assert second.reason is DropReason.NOT_FINITE


@given(
    count=st.integers(1, 4),
    low_hw=SIZES,
    size_hw=SIZES,
    padding=st.none() | st.tuples(st.tuples(st.integers(20, 40), st.integers(20, 40)), SIZES),
    scale=st.sampled_from([0.5, 2.0, 30.0]),
    shift=st.sampled_from([-200.0, -2.0, 0.0, 1.0, 200.0]),
    wrong=st.sampled_from([None, None, NAN, INF, -INF]),
    at_once=st.sampled_from([1, 4 * 90 * 90 * 2, 2**24]),
    seed=st.integers(0, 1000),
)
@example(1, (1, 1), (1, 1), None, 2.0, 0.0, None, 1, 0)
@example(3, (8, 8), (8, 90), ((32, 32), (20, 32)), 2.0, 0.0, None, 2**24, 0)
def test_rows_yield_the_segments_of_the_definition(
    count: int,
    low_hw: Size,
    size_hw: Size,
    padding: tuple[Size, Size] | None,
    scale: float,
    shift: float,
    wrong: float | None,
    at_once: int,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, *low_hw, generator=generator) * scale + shift
    if wrong is not None:
        logits[seed % count, seed % low_hw[0], seed % low_hw[1]] = wrong
    ious = (torch.randn(count, generator=generator) + 0.5).tolist()
    with mock.patch.object(masks, "_BYTES_AT_ONCE", at_once):
        got = segments_of(logits, ious, size_hw, padding)
    assert_equal(got, [segment_of(one, iou, size_hw, padding) for one, iou in zip(logits, ious, strict=True)])


@pytest.mark.parametrize("padding", [None, ((1024, 1024), (683, 1024))])
def test_memory_is_bounded_whatever_the_number(padding: tuple[Size, Size] | None) -> None:
    sizes: list[int] = []
    interpolate = functional.interpolate

    def watched(*args: object, **kwargs: object) -> torch.Tensor:
        sizes.append((result := interpolate(*args, **kwargs)).nbytes)
        return result

    with mock.patch.object(functional, "interpolate", watched):
        rows = pack_masks(torch.zeros(40, 8, 8), torch.zeros(40), (600, 900), padding=padding)
    assert max(sizes) <= 2**24
    assert len(sizes) <= 20, "several masks at once"
    assert len(rows) == 40
    assert {len(row) for row in rows} == {HEADER.itemsize + 900 * 75}


def test_packing_never_waits_for_the_device() -> None:
    with Syncs() as syncs:
        pack_masks(torch.zeros(5, 8, 8), torch.zeros(5), (30, 20), padding=((32, 32), (32, 21)))
        assert syncs.calls == []
        torch.zeros(1).cpu()
    assert syncs.calls == ["torch.Tensor.cpu"]
