"""Conditions that a region must meet to stay. Owns the filters, their order and what each of them measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from datasetkit.core.detections import Region, Removal
from datasetkit.core.ledger import DropReason
from datasetkit.options.grounding import FilterOptions


@dataclass(frozen=True, slots=True)
class _Filter:
    """One measured value and its lower or upper limit."""

    reason: DropReason
    measure: Callable[[Region], float | None]
    limit: float
    is_upper: bool = False

    def removal(self, region: Region) -> Removal | None:
        """Return the removal of a region that fails; one that was not measured passes."""
        value = self.measure(region)
        if value is None or (value <= self.limit if self.is_upper else value >= self.limit):
            return None
        side = "most" if self.is_upper else "least"
        return Removal(region.number, self.reason, f"{value:.4g}; at {side} {self.limit:g} is required")


def apply_filters(regions: Sequence[Region], options: FilterOptions) -> tuple[tuple[Region, ...], tuple[Removal, ...]]:
    """Split regions into those that stay and those that fail; the first filter that a region fails is its reason.

    Returns:
        the regions that stay, in their original order, and a removal for each of the others.

    """
    filters = (
        _Filter(DropReason.WHOLE_IMAGE, box_share, options.box_share_max, is_upper=True),
        _Filter(DropReason.TOO_SMALL, area_share, options.area_share_min),
        _Filter(DropReason.LOW_DETECTION, lambda region: region.score, options.detection_min),
        _Filter(DropReason.LOW_PREDICTED_IOU, lambda region: region.predicted_iou, options.predicted_iou_min),
        _Filter(DropReason.LOW_STABILITY, lambda region: region.stability, options.stability_min),
        _Filter(DropReason.LOW_SIMILARITY, lambda region: region.similarity, options.similarity_min),
        _Filter(DropReason.LOW_CLEANING_IOU, lambda region: region.cleaning_iou, options.cleaning_iou_min),
    )
    kept, removals = [], []
    for region in regions:
        removal = next((removal for item in filters if (removal := item.removal(region)) is not None), None)
        if removal is None:
            kept.append(region)
        else:
            removals.append(removal)
    return tuple(kept), tuple(removals)


def area_share(region: Region) -> float:
    """Return the share of the image that the mask covers, range (0, 1]."""
    return region.mask.area / math.prod(region.mask.size_hw)


def box_share(region: Region) -> float:
    """Return the share of the image that the box covers, range (0, 1]."""
    left, top, right, bottom = region.box_xyxy
    return (right - left) * (bottom - top) / math.prod(region.mask.size_hw)
