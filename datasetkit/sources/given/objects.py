"""From given objects to those of a record. Owns cutting of boxes, drawing of masks, and what objects lack.

A mask that cannot be drawn leaves the object with its box; without a box inside the image, the object is dropped, and
nothing else of its image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from datasetkit.core.errors import UnusableError
from datasetkit.core.given import GivenImage, GivenObject
from datasetkit.core.image import LoadedImage
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.core.mask import Box, Mask, oriented_box
from datasetkit.core.record import KeyObject, ObjectProvenance, box_inside
from datasetkit.core.text import one_line
from datasetkit.sources.coco_values import sound_segmentation
from datasetkit.sources.frames import Frame, frame_of
from datasetkit.sources.given.reader import BROKEN

# Sides of a mask that is smaller or larger than its image may be rounded, as those of Open Images are.
_ROUNDING_PX = 1.0


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one record, their ids by key, and what was dropped or is worth a notice."""

    objects: tuple[KeyObject, ...]
    ids: Mapping[str, int]
    drops: tuple[Drop, ...]
    notices: tuple[Notice, ...]


def objects_of(record_id: str, image: GivenImage, loaded: LoadedImage) -> Objects:
    """Make the objects of a record.

    Raises:
        UnusableError: ``size_mismatch``; boxes and masks are for an image of another size.

    """
    if not image.objects:
        return Objects((), {}, (), ())
    if image.are_shares:
        _check_ratio(image.size_wh, loaded)
        frame, kinds = Frame(loaded.encoded.size_hw, 1), list[NoticeKind]()
    else:
        frame, kinds = frame_of(image.size_wh, loaded)
    notices = [Notice(record_id, kind) for kind in kinds]
    made: list[KeyObject] = []
    ids: dict[str, int] = {}
    drops: list[Drop] = []
    for given in image.objects:
        name = given.source_id or f"{record_id}/{given.key}"
        try:
            item, odd = _object(_in_px(given, frame) if image.are_shares else given, frame, len(made))
        except UnusableError as error:
            drops.append(Drop("annotation", name, error.reason, error.detail))
            continue
        notices += [
            Notice(record_id, kind, f"annotation {name}: {detail}".rstrip(": ")) for kind, detail in odd.items()
        ]
        ids[given.key] = item.id
        made.append(item)
    return Objects(tuple(made), ids, tuple(drops), tuple(notices))


def _check_ratio(size_wh: Sequence[int | None], loaded: LoadedImage) -> None:
    """Refuse an image that was padded or cut, so that shares of its sides no longer fit.

    Raises:
        UnusableError: ``size_mismatch``; the ratio of its sides is not that of the stated size.

    """
    width, height = size_wh
    if not width or not height:
        return
    for high, wide in (loaded.encoded.size_hw, loaded.raw_size_hw):
        if abs(wide * height - high * width) <= _ROUNDING_PX * (width + height):
            return
    high, wide = loaded.encoded.size_hw
    raise UnusableError(
        DropReason.SIZE_MISMATCH,
        f"the boxes are shares of {width}x{height} px, the image {loaded.encoded.name} has another shape, {wide}x{high}"
        " px: it was padded or cut",
    )


def _object(given: GivenObject, frame: Frame, number: int) -> tuple[KeyObject, dict[NoticeKind, str]]:
    """Make one object; return it with its notices and their details.

    Raises:
        UnusableError: it has neither a mask nor a box inside the image.

    """
    odd: dict[NoticeKind, str] = {}
    mask: Mask | None = None
    fault: UnusableError | None = None
    if given.mask is not None:
        try:
            mask = _mask(given, frame, odd)
        except UnusableError as error:
            fault = error
    box = None if given.box_xywh is None else box_inside(given.box_xywh, frame.size_hw)
    if mask is None and box is None:
        raise fault or _boxless(given, frame)
    if mask is None:
        detail = "there is no segmentation; only a box is known" if fault is None else f"{fault.reason}: {fault.detail}"
        odd[NoticeKind.INSTANCE_WITHOUT_MASK] = detail
    item = KeyObject(
        id=number,
        mask=mask and mask.oriented(frame.turn),
        category=given.category,
        is_crowd=given.is_crowd,
        scores=given.scores,
        source_bbox=given.box_xywh and oriented_box(given.box_xywh, frame.size_hw, frame.turn),
        box=None if mask is not None or box is None else _turned(box, frame),
        provenance=ObjectProvenance(
            None if given.box_xywh is None else given.maker, None if mask is None else given.maker
        ),
        source_id=given.source_id,
    )
    return item, odd


def _in_px(given: GivenObject, frame: Frame) -> GivenObject:
    """Return an object whose box and polygons are px instead of shares of the sides."""
    height, width = frame.size_hw
    box, mask = given.box_xywh, given.mask
    if box is not None:
        box = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    if isinstance(mask, list):
        mask = [[one * (height if place % 2 else width) for place, one in enumerate(part)] for part in mask]
    return replace(given, box_xywh=box, mask=mask)


def _turned(box: Box, frame: Frame) -> Box:
    return oriented_box(box, frame.size_hw, frame.turn)


def _boxless(given: GivenObject, frame: Frame) -> UnusableError:
    height, width = frame.size_hw
    if given.box_xywh is not None:
        return UnusableError(
            DropReason.BAD_BOX,
            f"the box {given.box_xywh} (left, top, width, height) has no area in the image of {width}x{height} px",
        )
    if given.points_xy:
        return UnusableError(
            DropReason.POINTS_ONLY, f"only {len(given.points_xy)} points are known, and no segmenter was given"
        )
    return UnusableError(DropReason.BAD_ENTRY, "it has neither a mask nor a box")


def _mask(given: GivenObject, frame: Frame, odd: dict[NoticeKind, str]) -> Mask:
    """Draw a mask.

    Raises:
        UnusableError: it cannot be drawn, or covers no pixel.

    """
    try:
        shape = given.mask() if callable(given.mask) else given.mask
    except UnusableError:
        raise
    except BROKEN as error:
        raise UnusableError(DropReason.BAD_MASK, f"the mask is broken ({one_line(error)})") from None
    if not isinstance(shape, np.ndarray):
        sound, notices = sound_segmentation(shape, frame.size_hw)
        odd.update(dict.fromkeys(sorted(notices), ""))
        return Mask.from_coco(sound, frame.size_hw)
    if shape.shape != frame.size_hw:
        shape = _scaled(shape, frame.size_hw)
    return Mask.from_array(shape)


def _scaled(array: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Scale a mask of another size and equal ratio to its image, by the nearest pixel.

    Raises:
        UnusableError: ``bad_mask`` for another ratio.

    """
    height, width = size_hw
    ratio = min(array.shape[0] / height, array.shape[1] / width)
    off = max(abs(array.shape[0] - ratio * height), abs(array.shape[1] - ratio * width))
    if min(array.shape) < 1 or off > max(_ROUNDING_PX, ratio * _ROUNDING_PX):
        raise UnusableError(
            DropReason.BAD_MASK,
            f"the mask has {array.shape[1]}x{array.shape[0]} px, another shape than the image of {width}x{height} px",
        )
    scaled = Image.fromarray(array.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(scaled).astype(np.bool_)
