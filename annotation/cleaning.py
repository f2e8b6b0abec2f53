"""Repair of masks: islands, holes, outlines. Owns what counts as an island or a hole and how it is removed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datasetkit.core.mask import BoolArray, Mask
from datasetkit.options.grounding import CleaningOptions

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.bool_)


def clean_mask(mask: Mask, options: CleaningOptions) -> tuple[Mask, float]:
    """Remove islands, then fill holes, then smooth the outline.

    Shares are relative to the area of the input mask. Islands are 8-connected, and the largest part always stays. A
    hole is a 4-connected part of the background that does not reach the image's border. If opening would remove the
    whole mask, the outline is not smoothed, and the IoU covers islands and holes only.

    Returns:
        the mask, never empty, and its IoU with the input; the input mask itself and 1 where nothing changed.

    """
    left, top, width, height = (int(side) for side in mask.box_xywh)
    window = slice(top, top + height), slice(left, left + width)
    columns = mask.decode_columns()
    before = np.ascontiguousarray(columns[window[0]])
    after = fill_holes(remove_islands(before, options.island_share * mask.area), options.hole_share * mask.area)
    if options.smooth_px > 0:
        after = _smoothed(after, options.smooth_px, _border_sides(window, mask.size_hw))
    if np.array_equal(before, after):
        return mask, 1.0
    iou = float(np.count_nonzero(before & after) / np.count_nonzero(before | after))
    columns[window[0]] = after
    return Mask.from_columns(columns, left, mask.size_hw[1]), iou


def remove_islands(array: BoolArray, area_min: float) -> BoolArray:
    """Remove 8-connected parts of fewer pixels; the largest part stays, the first one of equal parts.

    Args:
        array: shape (H, W), dtype bool, not empty.
        area_min: px.

    """
    labels, count = ndimage.label(array, structure=_EIGHT_NEIGHBOURS)
    if count == 1:
        return array
    areas = _areas(labels, count)
    is_kept = areas >= area_min
    is_kept[0] = False
    is_kept[1 + areas[1:].argmax()] = True
    return is_kept[labels]


def fill_holes(array: BoolArray, area_min: float) -> BoolArray:
    """Fill 4-connected parts of the background that have fewer pixels and do not reach the array's border.

    Args:
        array: shape (H, W), dtype bool; a mask's tight box suffices, as what reaches its border is not a hole.
        area_min: px.

    """
    labels, count = ndimage.label(~array)
    is_hole = np.ones(count + 1, dtype=np.bool_)
    for edge in ([0], labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        is_hole[edge] = False
    if not is_hole.any():
        return array
    is_filled = is_hole & (_areas(labels, count) < area_min)
    return array | is_filled[labels] if is_filled.any() else array


def _smoothed(array: BoolArray, radius_px: int, pad_sides: tuple[tuple[int, int], tuple[int, int]]) -> BoolArray:
    """Open and close with a disc, as if the mask continued beyond each side where the image's border cuts it off."""
    # An opening followed by a closing reaches four radii far.
    margin = 4 * radius_px
    cut = [(margin * before, margin * after) for before, after in pad_sides]
    padded = np.pad(np.pad(array, cut, mode="edge"), [(margin - before, margin - after) for before, after in cut])
    across = np.arange(-radius_px, radius_px + 1)
    disc = across[:, None] ** 2 + across[None, :] ** 2 <= radius_px**2
    opened = ndimage.binary_opening(padded, disc)
    inner = ndimage.binary_closing(opened, disc)[margin:-margin, margin:-margin]
    return inner if inner.any() else array


def _areas(labels: NDArray[np.integer[Any]], count: int) -> NDArray[np.int64]:
    """Count the pixels of each label; label 0, the background, comes first."""
    return np.bincount(labels.ravel(), minlength=count + 1)


def _border_sides(window: tuple[slice, slice], size_hw: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return, as 0 or 1, which sides of a window are on the image's border: (top, bottom), (left, right)."""
    rows, columns = ((int(part.start == 0), int(part.stop == side)) for part, side in zip(window, size_hw, strict=True))
    return rows, columns
