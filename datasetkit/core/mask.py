"""Masks: one object's pixels as COCO run lengths. Owns every conversion between arrays, polygons and RLE.

Run lengths count pixels column by column (Fortran order), background first, as in the COCO API
(pycocotools, which does the encoding and decoding here).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason

BoolArray = NDArray[np.bool_]
Box = tuple[float, float, float, float]

# A polygon may leave its image, but a coordinate farther out than this many image sides is a mistake, and the memory
# for rasterising it would grow in proportion.
_FARTHEST_SIDES = 16
# pycocotools counts in 32 bits.
_MOST_PIXELS = 2**31 - 1
_EMPTY = (DropReason.BAD_MASK, "the mask covers no pixel; leave the object out instead")


@dataclass(frozen=True)
class Mask:
    """A non-empty binary mask, run-length encoded.

    Args:
        size_hw: height and width of the image, px.
        counts: COCO's compressed run lengths as text.

    Raises:
        UnusableError: ``bad_mask`` if the runs are malformed, do not add up to the size, or cover no pixel.

    """

    size_hw: tuple[int, int]
    counts: str

    def __post_init__(self) -> None:
        height, width = self.size_hw
        _check_size(self.size_hw)
        runs = run_lengths(self.counts)
        # Each run is checked, too: the sum of huge ones overflows, and pycocotools would write outside of its buffer.
        if (runs < 0).any() or (runs > height * width).any() or int(runs.sum()) != height * width:
            raise UnusableError(
                DropReason.BAD_MASK,
                f"run lengths add up to {int(runs.sum())}; a mask of {height}x{width} needs {height * width}",
            )
        if not runs[1::2].any():
            raise UnusableError(*_EMPTY)

    @classmethod
    def from_array(cls, array: BoolArray) -> Mask:
        """Encode a mask of shape (H, W), dtype bool."""
        if array.ndim != 2 or array.dtype != np.bool_:
            raise UnusableError(
                DropReason.BAD_MASK, f"mask array of shape {array.shape} and dtype {array.dtype}; give (H, W) bool"
            )
        return cls._from_rle(coco_mask.encode(np.asfortranarray(array, dtype=np.uint8)))

    @classmethod
    def from_polygons(cls, polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> Mask:
        """Rasterise one object's polygon parts, each [x0, y0, x1, y1, ...] in px, as ``COCO.annToMask`` does.

        Raises:
            UnusableError: ``bad_polygon`` for a part with fewer than three points, an odd count or invalid
                coordinates; ``outside_image`` if no pixel is covered.

        """
        height, width = size_hw
        if not polygons:
            raise UnusableError(DropReason.BAD_POLYGON, "no polygon part; give at least one")
        for index, part in enumerate(polygons):
            if fault := part_fault(part, size_hw):
                raise UnusableError(DropReason.BAD_POLYGON, f"polygon part {index} {fault}")
        rle = coco_mask.merge(coco_mask.frPyObjects([list(part) for part in polygons], height, width))
        return cls._from_rle(
            rle, (DropReason.OUTSIDE_IMAGE, f"the polygon covers no pixel of the {width}x{height} image")
        )

    @classmethod
    def from_coco(cls, segmentation: object, size_hw: tuple[int, int]) -> Mask:
        """Read any of COCO's three forms: polygon list, uncompressed run lengths, compressed run lengths.

        Raises:
            UnusableError: the segmentation has none of these forms, or does not fit an image of ``size_hw``.

        """
        if isinstance(segmentation, list):
            return cls.from_polygons(segmentation, size_hw)
        if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= segmentation.keys():
            raise UnusableError(
                DropReason.BAD_MASK,
                f"segmentation is a {type(segmentation).__name__}; give polygons or {{size, counts}}",
            )
        if segmentation["size"] not in (list(size_hw), size_hw):
            raise UnusableError(
                DropReason.BAD_MASK, f"mask size {segmentation['size']} in an image of {list(size_hw)} (height, width)"
            )
        counts = segmentation["counts"]
        if isinstance(counts, list):
            return cls.from_run_lengths(counts, size_hw)
        if isinstance(counts, bytes):
            counts = counts.decode("ascii", errors="replace")
        if not isinstance(counts, str):
            raise UnusableError(DropReason.BAD_MASK, f"counts is a {type(counts).__name__}; give a list or text")
        return cls(size_hw, counts)

    @classmethod
    def from_run_lengths(cls, runs: Sequence[int], size_hw: tuple[int, int]) -> Mask:
        """Encode uncompressed run lengths, background first, column by column."""
        height, width = size_hw
        if not all(isinstance(run, int) and run >= 0 for run in runs) or sum(runs) != height * width:
            raise UnusableError(
                DropReason.BAD_MASK, f"run lengths must be whole, not negative, and add up to {height * width}"
            )
        return cls._from_rle(coco_mask.frPyObjects({"size": list(size_hw), "counts": list(runs)}, height, width))

    @classmethod
    def from_packed(cls, columns: NDArray[np.uint8], height: int) -> Mask:
        """Encode a mask whose pixels are bits, without unpacking it.

        Args:
            columns: shape (W, ceil(H / 8)), dtype uint8: the pixels of each column from the top, lowest bit first, as
                ``numpy.packbits(array, axis=0, bitorder="little").T``; spare bits at the end of a column are ignored.
            height: H, px.

        """
        if height < 1 or columns.dtype != np.uint8 or columns.shape[1:] != (-(-height // 8),):
            raise UnusableError(
                DropReason.BAD_MASK,
                f"packed mask of shape {columns.shape}, dtype {columns.dtype} and height {height}; "
                "give (W, ceil(H / 8)) uint8, and a height H of at least 1 px",
            )
        # Bits that differ from the pixel before them, which of a column's first pixel is the last one of the column
        # before.
        edges: NDArray[np.uint8] = np.bitwise_xor(columns, columns << 1, dtype=np.uint8)
        edges[:, 1:] ^= columns[:, :-1] >> 7
        edges[1:, 0] ^= columns[:-1, -1] >> (height - 1) % 8 & 1
        edges[:, -1] &= 0xFF >> -height % 8
        places = np.flatnonzero(edges)
        place, bit = np.nonzero(np.unpackbits(edges.ravel()[places], bitorder="little").reshape(-1, 8))
        column, group = np.divmod(places[place], columns.shape[1])
        runs = np.diff(column * height + group * 8 + bit, prepend=0, append=height * len(columns))
        size_hw = [height, len(columns)]
        return cls._from_rle(coco_mask.frPyObjects({"size": size_hw, "counts": runs}, *size_hw))

    @classmethod
    def from_columns(cls, columns: BoolArray, left: int, width: int) -> Mask:
        """Encode a mask that is in some columns of its image only, as :meth:`decode_columns` returns them.

        Args:
            columns: shape (H, number of columns), dtype bool; fastest in Fortran order.
            left: columns to the left of them.
            width: of the image, px.

        """
        rle = coco_mask.encode(np.asfortranarray(columns, dtype=np.uint8))
        runs, size_hw = run_lengths(rle["counts"].decode("ascii")), [len(columns), width]
        # Where the mask begins and ends; an end of the whole image is not written.
        edges = (left * len(columns) + np.cumsum(runs))[: runs.size // 2 * 2]
        runs = np.diff(edges[edges < len(columns) * width], prepend=0, append=len(columns) * width)
        return cls._from_rle(coco_mask.frPyObjects({"size": size_hw, "counts": runs}, *size_hw))

    @classmethod
    def _from_rle(cls, rle: Mapping[str, Any], if_empty: tuple[DropReason, str] = _EMPTY) -> Mask:
        """Take over what pycocotools has just encoded; its run lengths are not checked, unlike those of files."""
        height, width = rle["size"]
        size_hw, area = (int(height), int(width)), int(coco_mask.area(rle))
        _check_size(size_hw)
        if area == 0:
            raise UnusableError(*if_empty)
        mask = object.__new__(cls)
        mask.__dict__.update(size_hw=size_hw, counts=rle["counts"].decode("ascii"), area=area)
        return mask

    def to_coco(self) -> dict[str, Any]:
        """Return ``{"size": [height, width], "counts": text}``, as ``pycocotools.mask.decode`` reads it."""
        return {"size": list(self.size_hw), "counts": self.counts}

    def decode(self) -> BoolArray:
        """Return the mask as an array of shape (H, W), dtype bool."""
        return coco_mask.decode(self.to_coco()).astype(np.bool_)

    def decode_columns(self) -> BoolArray:
        """Return the columns that the mask's box spans: shape (H, width of the box), dtype bool, Fortran order."""
        height, (left, _, width, _) = self.size_hw[0], map(int, self.box_xywh)
        ends = np.clip(np.cumsum(run_lengths(self.counts)) - left * height, 0, width * height)
        pixels: BoolArray = np.repeat(np.arange(ends.size) % 2 == 1, np.diff(ends, prepend=0))
        return pixels.reshape(width, height).T

    @cached_property
    def area(self) -> int:
        """Number of pixels in the mask."""
        return int(coco_mask.area(self.to_coco()))

    @cached_property
    def box_xywh(self) -> tuple[float, float, float, float]:
        """The tight bounding box (left, top, width, height) in px, as computed by pycocotools ``toBbox``."""
        left, top, width, height = (float(value) for value in coco_mask.toBbox(self.to_coco()))
        return left, top, width, height

    def oriented(self, orientation: int) -> Mask:
        """Return the mask rotated as the EXIF ``orientation`` (1 to 8) rotates its image upright."""
        return self if orientation == 1 else Mask.from_array(np.ascontiguousarray(_UPRIGHT[orientation](self.decode())))


def _check_size(size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    if height < 1 or width < 1 or height * width > _MOST_PIXELS:
        raise UnusableError(
            DropReason.BAD_MASK,
            f"mask size {height}x{width}; give sides of at least 1 px, {_MOST_PIXELS:,} px in all",
        )


# EXIF 2.32, tag 0x0112: how to make stored pixels upright.
_UPRIGHT: dict[int, Callable[[BoolArray], BoolArray]] = {
    2: np.fliplr,
    3: lambda array: np.rot90(array, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda array: np.rot90(array, -1),
    7: lambda array: np.rot90(array, 2).T,
    8: lambda array: np.rot90(array, 1),
}


def oriented_box(box_xywh: Box, size_hw: tuple[int, int], orientation: int) -> Box:
    """Return a box (left, top, width, height), px, rotated as the EXIF ``orientation`` rotates its image upright.

    Args:
        box_xywh: box on the stored image.
        size_hw: height and width of the stored image, px.
        orientation: EXIF orientation, 1 to 8.

    """
    left, top, width, height = box_xywh
    if orientation in {2, 3, 7, 8}:
        left = size_hw[1] - left - width
    if orientation in {3, 4, 6, 7}:
        top = size_hw[0] - top - height
    return (left, top, width, height) if orientation < 5 else (top, left, height, width)


def part_fault(part: object, size_hw: tuple[int, int]) -> str | None:
    """Return what is wrong with a polygon part [x0, y0, x1, y1, ...] of an image; None for a valid one."""
    height, width = size_hw
    farthest = float(_FARTHEST_SIDES * max(height, width))
    if not isinstance(part, Sequence) or isinstance(part, str):
        return f"is a {type(part).__name__}; give a list of numbers"
    if len(part) < 6 or len(part) % 2:
        return f"has {len(part)} numbers; give x, y pairs of at least three points"
    if not all(issubclass(kind, int | float) for kind in {*map(type, part)}):
        return "contains something that is not a number"
    if not all(map(farthest.__ge__, map(abs, part))):  # NaN fails this, too
        return f"has points farther than {farthest:.0f} px from a {width}x{height} image"
    return None


def run_lengths(counts: str) -> NDArray[np.int64]:
    """Decode COCO's compressed counts into run lengths, shape (R,), background first.

    Each number is written in groups of 5 bits, low group first, each plus 48; bit 0x20 says that another group follows,
    bit 0x10 of the last group is the sign; from the fourth number on, the number is the difference to the one two
    positions before.

    Raises:
        UnusableError: ``bad_mask`` if the text is not of that form.

    """
    try:
        codes = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise UnusableError(DropReason.BAD_MASK, "counts contain non-ASCII characters") from None
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        raise UnusableError(DropReason.BAD_MASK, "counts are not COCO's compressed run lengths")
    ends = np.flatnonzero((codes & 0x20) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(codes.size) - np.repeat(starts, ends - starts + 1)
    if places.max() > 6:
        raise UnusableError(DropReason.BAD_MASK, "counts contain a run of more than 35 bits")
    values = np.add.reduceat((codes & 0x1F) << (5 * places), starts)
    negative = (codes[ends] & 0x10) != 0
    values -= negative * (np.int64(1) << (5 * (places[ends] + 1)))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def decode_masks(masks: Sequence[Mask], size_hw: tuple[int, int]) -> BoolArray:
    """Decode several masks of one image into shape (N, H, W), dtype bool; N may be 0.

    Raises:
        ValueError: a mask has another size than ``size_hw``.

    """
    for mask in masks:
        if mask.size_hw != size_hw:
            raise ValueError(f"mask of {mask.size_hw} among masks of {size_hw} (height, width)")
    if not masks:
        return np.zeros((0, *size_hw), dtype=np.bool_)
    return coco_mask.decode([mask.to_coco() for mask in masks]).transpose(2, 0, 1).astype(np.bool_)


def mask_iou(masks: Sequence[Mask], others: Sequence[Mask]) -> NDArray[np.float64]:
    """Return the intersection over union of every pair, shape (len(masks), len(others)), range [0, 1]."""
    if not masks or not others:
        return np.zeros((len(masks), len(others)))
    return coco_mask.iou([m.to_coco() for m in masks], [m.to_coco() for m in others], [0] * len(others))


def mask_containment(masks: Sequence[Mask], others: Sequence[Mask]) -> NDArray[np.float64]:
    """Return the share of each mask that is inside each other one, shape (len(masks), len(others)), range [0, 1]."""
    if not masks or not others:
        return np.zeros((len(masks), len(others)))
    # COCO compares detections with crowds in this way: intersection over the area of the first mask.
    return coco_mask.iou([m.to_coco() for m in masks], [m.to_coco() for m in others], [1] * len(others))
