"""Rows of a dataset as samples for head scores: an image, a text, key objects. Owns which objects count.

Rows are in datasetkit's format (see :mod:`datasetkit.core.rows`), or have an image, a text and masks; see
:func:`sample_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasetkit.core.errors import RecordError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask, decode_masks
from datasetkit.core.row_check import check_row
from datasetkit.core.rows import image_of

BoolArray = NDArray[np.bool_]
TEXT_COLUMNS = ("description", "caption", "text")
MASK_COLUMNS = ("objects", "masks", "mask")


@dataclass(frozen=True)
class Mention:
    """A phrase of the text, and the objects that it names.

    Args:
        span: [start, end) in code points of the text.
        objects: indices into the sample's objects; at least one.

    """

    span: tuple[int, int]
    objects: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """The input of one forward pass for head scores.

    Args:
        text: the description, which the model receives as its response.
        objects: masks of the key objects, each of H x W px; at least one.
        mentions: the phrases that name them; empty if the row has no phrases.

    """

    record_id: str
    image: Image.Image
    text: str
    objects: tuple[Mask, ...]
    mentions: tuple[Mention, ...]

    @cached_property
    def masks(self) -> BoolArray:
        """The objects' masks, shape (O, H, W)."""
        return decode_masks(self.objects, (self.image.height, self.image.width))


def sample_of(row: Mapping[str, Any], record_id: str) -> Sample:
    """Read a row as a sample.

    In a row in datasetkit's format, the key objects named by a matched phrase count, crowds excluded (Sergeev &
    Kotelnikov, arXiv 2511.23375, score heads on the objects that the description names). In any other row, every mask
    counts.

    Args:
        row: an ``image``; a text in the column ``description``, ``caption`` or ``text``; and ``objects`` in
            datasetkit's format, or ``masks`` (a list, or an array of shape (O, H, W)) or ``mask`` (one): each an array
            or image of the image's size, nonzero inside the object, or COCO run lengths ``{size, counts}``.
        record_id: the id of the row if it has no ``record_id``.

    Raises:
        UnusableError: ``bad_row`` if a column is missing or has another type, ``bad_mask``, ``no_description`` or
            ``no_key_object``.

    """
    try:
        image = image_of(row["image"])
    except (KeyError, RecordError) as error:
        raise UnusableError(DropReason.BAD_ROW, f"no image in the column image: {error}") from error
    text = text_of(row)
    if text is None:
        raise UnusableError(DropReason.NO_DESCRIPTION, f"no text in a column {', '.join(TEXT_COLUMNS)}")
    size_hw = (image.height, image.width)
    if "objects" in row and "phrases" in row:
        objects, mentions = _named_objects(row, size_hw)
    else:
        objects, mentions = _all_masks(row, size_hw), ()
    return Sample(str(row.get("record_id") or record_id), image, text, objects, mentions)


def text_of(row: Mapping[str, Any]) -> str | None:
    """Return a row's text, from the first of ``TEXT_COLUMNS`` that it has; None if it has no text."""
    text = next((row[name] for name in TEXT_COLUMNS if row.get(name)), None)
    return text if isinstance(text, str) and text.strip() else None


def check_columns(row: Mapping[str, Any], *columns: str) -> None:
    """Refuse a row with a cell that does not follow the published schema.

    Raises:
        UnusableError: ``bad_row``; the message names the cell.

    """
    try:
        check_row(row, *columns)
    except RecordError as error:
        raise UnusableError(DropReason.BAD_ROW, str(error)) from error


def _named_objects(row: Mapping[str, Any], size_hw: tuple[int, int]) -> tuple[tuple[Mask, ...], tuple[Mention, ...]]:
    check_columns(row, "objects", "phrases")
    eligible = {int(item["id"]): item for item in row["objects"] if item["is_key"] and not item["is_crowd"]}
    named = [phrase for phrase in row["phrases"] if phrase["status"] == "matched"]
    wanted = {int(number) for phrase in named for number in phrase["object_ids"]}
    ids = [number for number in eligible if number in wanted]
    place = {number: index for index, number in enumerate(ids)}
    mentions = []
    for phrase in named:
        found = tuple(place[int(number)] for number in phrase["object_ids"] if int(number) in place)
        if found:
            mentions.append(Mention((int(phrase["start"]), int(phrase["end"])), found))
    if not ids:
        raise UnusableError(DropReason.NO_KEY_OBJECT, "the row has no object with a matched phrase")
    return tuple(_mask(eligible[number]["mask"], size_hw) for number in ids), tuple(mentions)


def _all_masks(row: Mapping[str, Any], size_hw: tuple[int, int]) -> tuple[Mask, ...]:
    for name in MASK_COLUMNS:
        found = row.get(name)
        if found is None:
            continue
        if name == "mask":
            found = [found]
        elif name == "objects":
            found = [item["mask"] for item in found if not item.get("is_crowd") and item["mask"] is not None]
        if len(found) == 0:
            raise UnusableError(DropReason.NO_KEY_OBJECT, f"the column {name} holds no mask")
        return tuple(_mask(value, size_hw) for value in found)
    raise UnusableError(DropReason.BAD_ROW, f"no column {', '.join(MASK_COLUMNS)} with masks")


def _mask(value: Any, size_hw: tuple[int, int]) -> Mask:
    if isinstance(value, Mapping):
        mask = Mask.from_coco({"size": [int(side) for side in value["size"]], "counts": value["counts"]}, size_hw)
    else:
        array = np.asarray(value)
        if array.ndim != 2:
            raise UnusableError(DropReason.BAD_MASK, f"a mask of shape {array.shape}; give (height, width)")
        if not array.any():
            raise UnusableError(DropReason.BAD_MASK, "a mask that is zero everywhere; leave out objects without pixels")
        mask = Mask.from_array(array != 0)
    if mask.size_hw != size_hw:
        raise UnusableError(
            DropReason.BAD_MASK, f"a mask of {mask.size_hw} px (height, width) on an image of {size_hw}"
        )
    return mask
