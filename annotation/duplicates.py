"""Masks of one image that cover the same thing. Owns which of them stays and what happens to the others.

All steps are greedy, as in non-maximum suppression: the best score comes first (the earlier one of equal scores), and
each mask that stays absorbs those that overlap it and have not been absorbed yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.detections import FloatArray, Region, Removal
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import BoolArray, mask_containment, mask_iou
from datasetkit.options.grounding import DuplicateOptions

_Regions = tuple[Region, ...]


def merge_masks(regions: Sequence[Region], options: DuplicateOptions) -> tuple[_Regions, tuple[Removal, ...]]:
    """Merge masks that cover the same thing; find groups and parts.

    The order is duplicates, groups, parts. Duplicates come first, since the same thing found twice would count as two
    members of a group. Groups come before parts, since the members would otherwise be removed as parts of the group.

    A duplicate's scores pass to the mask that it repeats, the higher one per phrase. A part's scores are removed with
    it, since a wheel's phrase does not name the car. Groups are not members, and of two members one of which contains
    the other, only the larger one counts. Groups that are kept are in the result next to their members.

    Returns:
        the regions that stay, in their original order, and a removal for each of the others.

    """
    kept, duplicates = _merge_duplicates(regions, options.mask_iou)
    kept, dropped = _settle_groups(kept, options)
    kept, parts = _remove_parts(kept, options.containment)
    return kept, (*duplicates, *dropped, *parts)


def _merge_duplicates(regions: Sequence[Region], iou_min: float) -> tuple[_Regions, tuple[Removal, ...]]:
    shapes = [region.mask for region in regions]
    ious = mask_iou(shapes, shapes)
    keepers = _keepers(np.array([region.score for region in regions]), ious >= iou_min).tolist()
    folded = {place: region.phrase_scores for place, region in enumerate(regions)}
    removals = []
    for place, keeper in enumerate(keepers):
        if keeper != place:
            scores = zip(folded[keeper], regions[place].phrase_scores, strict=True)
            folded[keeper] = tuple(max(pair) for pair in scores)
            detail = f"IoU {ious[keeper, place]:.2f} with the mask of box {regions[keeper].number}"
            removals.append(Removal(regions[place].number, DropReason.DUPLICATE_MASK, detail))
    kept = tuple(
        replace(region, phrase_scores=folded[place]) for place, region in enumerate(regions) if keepers[place] == place
    )
    return kept, tuple(removals)


def _settle_groups(regions: _Regions, options: DuplicateOptions) -> tuple[_Regions, tuple[Removal, ...]]:
    members = _count_members(regions, options.containment, options.group_members)
    is_group = [count >= options.group_members for count in members]
    if options.groups == "keep":
        marked = zip(regions, is_group, strict=True)
        return tuple(replace(region, is_group=True) if group else region for region, group in marked), ()
    removals = tuple(
        Removal(region.number, DropReason.GROUP_BOX, f"contains {count} others of its phrase")
        for region, count, group in zip(regions, members, is_group, strict=True)
        if group
    )
    return tuple(region for region, group in zip(regions, is_group, strict=True) if not group), removals


def _count_members(regions: _Regions, containment: float, members_min: int) -> list[int]:
    """Count the members in each mask, from the smallest mask up, so that groups within a group are known before it."""
    within = _is_within(regions, containment)
    counts = [0] * len(regions)
    singles: list[int] = []
    for place in sorted(range(len(regions)), key=lambda place: (regions[place].mask.area, place)):
        members = [other for other in singles if within[other, place]]
        # If two members' masks contain each other, the larger one counts, which comes later here.
        counts[place] = sum(not within[member, members[rank + 1 :]].any() for rank, member in enumerate(members))
        if counts[place] < members_min:
            singles.append(place)
    return counts


def _remove_parts(regions: _Regions, containment: float) -> tuple[_Regions, tuple[Removal, ...]]:
    is_single = np.array([not region.is_group for region in regions], dtype=np.bool_)
    takes = _is_within(regions, containment).T & is_single[:, None] & is_single[None, :]
    keepers = _keepers(np.array([region.score for region in regions]), takes).tolist()
    removals = tuple(
        Removal(
            region.number,
            DropReason.CONTAINED_MASK,
            f"share {mask_containment([region.mask], [regions[keeper].mask]).item():.2f} is within the mask of box "
            f"{regions[keeper].number}",
        )
        for place, (region, keeper) in enumerate(zip(regions, keepers, strict=True))
        if keeper != place
    )
    return tuple(region for place, region in enumerate(regions) if keepers[place] == place), removals


def _is_within(regions: _Regions, containment: float) -> BoolArray:
    """Return which masks are within which others of the same best phrase, shape (N, N), dtype bool."""
    shapes = [region.mask for region in regions]
    phrases = np.array([region.best_phrase if region.phrase_scores else 0 for region in regions])
    return (mask_containment(shapes, shapes) >= containment) & (phrases[:, None] == phrases[None, :])


def _keepers(scores: FloatArray, takes: BoolArray) -> NDArray[np.int64]:
    """Return for each item the one that absorbs it: itself if it stays, otherwise the best one that contains it.

    Scores have shape (N,); ``takes[i, j]``, shape (N, N), says whether item i, if it stays, absorbs item j.
    """
    keepers = np.full(len(scores), -1)
    for place in np.argsort(-scores, kind="stable"):
        if keepers[place] < 0:
            keepers[takes[place] & (keepers < 0)] = place
            keepers[place] = place
    return keepers
