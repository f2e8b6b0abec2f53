"""Cleaning of masks: images drawn by hand, and comparison with flood fill and morphology on the whole frame."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datasetkit.annotation.cleaning import clean_mask
from datasetkit.core.mask import BoolArray, Mask
from datasetkit.options.grounding import CleaningOptions

ARRAYS = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda size_hw: hnp.arrays(np.bool_, size_hw, elements=st.sampled_from([False, False, True]))
)
SHARES = st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0])
Pixel = tuple[int, int]


def drawn(*rows: str) -> Mask:
    return Mask.from_array(np.array([[mark == "#" for mark in row] for row in rows]))


def cleaned(mask: Mask, island_share: float = 0.0, hole_share: float = 0.0, smooth_px: int = 0) -> tuple[Mask, float]:
    return clean_mask(mask, CleaningOptions(island_share=island_share, hole_share=hole_share, smooth_px=smooth_px))


def test_small_islands_are_removed() -> None:
    before = drawn(
        "####.....",
        "####..##.",
        "####.....",
        "........#",
    )
    # 15 pixels: the pair has a share of 0.133, the single one of 0.067.
    after, iou = cleaned(before, island_share=0.1)
    assert after == drawn("####.....", "####..##.", "####.....", ".........")
    assert iou == 14 / 15
    after, iou = cleaned(before, island_share=0.2)
    assert after == drawn("####.....", "####.....", "####.....", ".........")
    assert iou == 12 / 15


def test_parts_touching_at_a_corner_are_one() -> None:
    before = drawn("##..", "##..", "..#.", "...#")
    assert cleaned(before, island_share=1.0) == (before, 1.0)


def test_largest_part_always_stays() -> None:
    before = drawn("#.#.#", ".....", "##.#.")
    after, _ = cleaned(before, island_share=1.0)
    assert after == drawn(".....", ".....", "##...")


def test_small_holes_are_filled() -> None:
    before = drawn(
        "########",
        "#.##..##",
        "####..##",
        "########",
    )
    # 27 pixels: the single hole has a share of 0.037, the other of 0.148.
    after, iou = cleaned(before, hole_share=0.14)
    assert after == drawn("########", "####..##", "####..##", "########")
    assert iou == 27 / 28
    after, iou = cleaned(before, hole_share=0.2)
    assert after.area == 32
    assert iou == 27 / 32


def test_background_at_the_border_is_not_a_hole() -> None:
    before = drawn("#####", "#...#", "#...#")
    assert cleaned(before, hole_share=1.0) == (before, 1.0)


def test_hole_does_not_leak_at_a_corner() -> None:
    """Its diagonal gap is closed, since the parts of the mask that touch there are one."""
    after, _ = cleaned(drawn(".##.", "#..#", "#..#", ".##."), hole_share=1.0)
    assert after == drawn(".##.", "####", "####", ".##.")


def test_island_in_a_hole_is_removed_first() -> None:
    after, _ = cleaned(drawn("#####", "#...#", "#.#.#", "#...#", "#####"), island_share=0.5, hole_share=0.6)
    assert after.area == 25


def test_clean_mask_is_returned_unchanged() -> None:
    before = drawn("....", ".##.", ".##.", "....")
    after, iou = cleaned(before, 0.5, 0.5)
    assert after is before
    assert iou == 1.0


def test_smoothing_removes_spikes_and_fills_nicks() -> None:
    before = drawn(
        "..........",
        "..#####...",
        "..#####...",
        "..##.##...",
        "..########",
        "..#####...",
        "..........",
    )
    after, _ = cleaned(before, smooth_px=1)
    array = after.decode()
    assert not array[4, 8:].any()
    assert array[2, 4]
    assert array[3, 4]
    assert array[2:5, 3:6].all()


def test_smoothing_keeps_corners_at_the_border() -> None:
    """The image's corner is not a corner of the object."""
    before = drawn("####....", "####....", "####....", "........")
    after, _ = cleaned(before, smooth_px=1)
    assert after.decode()[:2, :4].all()
    assert after.decode()[:3, :3].all()


@pytest.mark.parametrize("smooth_px", [1, 4])
def test_smoothing_that_would_remove_all_is_skipped(smooth_px: int) -> None:
    before = drawn("........", ".######.", "........", "......#.")
    after, iou = cleaned(before, island_share=0.2, smooth_px=smooth_px)
    assert after == drawn("........", ".######.", "........", "........")
    assert iou == 6 / 7


def flooded(seeds: Iterable[Pixel], wanted: set[Pixel], *, diagonal: bool) -> set[Pixel]:
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0) and (diagonal or 0 in (a, b))]
    found, todo = set(), list(seeds)
    while todo:
        row, column = todo.pop()
        if (row, column) in wanted and (row, column) not in found:
            found.add((row, column))
            todo.extend((row + a, column + b) for a, b in steps)
    return found


def parts_of(pixels: set[Pixel], *, diagonal: bool) -> list[set[Pixel]]:
    parts: list[set[Pixel]] = []
    for pixel in sorted(pixels):
        if not any(pixel in part for part in parts):
            parts.append(flooded([pixel], pixels, diagonal=diagonal))
    return parts


def opened_and_closed(pixels: set[Pixel], size_hw: Pixel, radius: int) -> set[Pixel]:
    """Open and close on a frame that continues its border pixels outwards, far enough to hide its new border."""
    disc = [
        (a, b) for a in range(-radius, radius + 1) for b in range(-radius, radius + 1) if a * a + b * b <= radius**2
    ]
    height, width = size_hw
    far = 4 * radius

    def clamped(row: int, column: int) -> Pixel:
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)

    frame = {(row, column) for row in range(-far, height + far) for column in range(-far, width + far)}
    mask = {pixel for pixel in frame if clamped(*pixel) in pixels}

    def grown(mask: set[Pixel]) -> set[Pixel]:
        return {(row + a, column + b) for row, column in mask for a, b in disc}

    def shrunk(mask: set[Pixel]) -> set[Pixel]:
        return {(row, column) for row, column in mask if all((row + a, column + b) in mask for a, b in disc)}

    closed = shrunk(grown(grown(shrunk(mask))))
    return {(row, column) for row, column in closed if 0 <= row < height and 0 <= column < width}


def cleaned_pixel_by_pixel(array: BoolArray, island_share: float, hole_share: float, smooth_px: int) -> set[Pixel]:
    height, width = array.shape
    pixels = {(int(row), int(column)) for row, column in np.argwhere(array)}
    area = len(pixels)
    parts = parts_of(pixels, diagonal=True)
    largest = max(map(len, parts))
    first = next(part for part in parts if len(part) == largest)
    pixels = set().union(*(part for part in parts if part is first or len(part) >= island_share * area))
    frame = {(row, column) for row in range(height) for column in range(width)}
    for hole in parts_of(frame - pixels, diagonal=False):
        reaches_border = any(row in (0, height - 1) or column in (0, width - 1) for row, column in hole)
        if not reaches_border and len(hole) < hole_share * area:
            pixels |= hole
    smoothed = opened_and_closed(pixels, (height, width), smooth_px)
    return smoothed or pixels


@given(ARRAYS.filter(np.any), SHARES, SHARES, st.integers(0, 2))
@example(np.ones((1, 1), dtype=np.bool_), 1.0, 1.0, 2)
def test_tight_box_yields_the_whole_frame_result(
    array: BoolArray, island_share: float, hole_share: float, smooth_px: int
) -> None:
    before = Mask.from_array(array)
    after, iou = cleaned(before, island_share, hole_share, smooth_px)
    expected = cleaned_pixel_by_pixel(array, island_share, hole_share, smooth_px)
    found = after.decode()
    assert found.dtype == np.bool_
    assert {(int(row), int(column)) for row, column in np.argwhere(found)} == expected
    assert iou == (array & found).sum() / (array | found).sum()
    assert (after is before) == (iou == 1.0)


@given(ARRAYS.filter(np.any), st.integers(0, 5), st.integers(0, 5), SHARES, st.integers(0, 2))
def test_empty_margin_changes_nothing(array: BoolArray, above: int, left: int, share: float, smooth_px: int) -> None:
    """An image that is larger on all sides, by more than the reach of the border, yields the same mask."""
    inner = np.pad(array, 1)
    outer = np.pad(inner, ((above, 1), (left, 2)))
    small, _ = cleaned(Mask.from_array(inner), share, share, smooth_px)
    large, _ = cleaned(Mask.from_array(outer), share, share, smooth_px)
    assert (np.pad(small.decode(), ((above, 1), (left, 2))) == large.decode()).all()
