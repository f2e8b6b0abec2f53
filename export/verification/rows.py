"""Verification of rows: one by one, and against each other. Owns what a sound row is, apart from the schema."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.drawing import OVERLAY_MAX_SIDE_PX
from datasetkit.core.errors import RecordError, UnusableError
from datasetkit.core.image import LoadedImage, load_image
from datasetkit.core.limits import ImageLimits
from datasetkit.core.schema import row_to_record
from datasetkit.export.dataset.manifest import Shard
from datasetkit.export.verification.faults import Fault

Row = Mapping[str, Any]


def row_faults(row: Row, limits: ImageLimits, changed: Container[str], *, are_pixels_used: bool) -> list[str]:
    """Yield faults in the image, masks, spans and ids of a row, one sentence each.

    Args:
        row: row from Parquet.
        limits: limits of images; larger ones are faults and are not decoded.
        changed: ids of the records whose image bytes were changed.
        are_pixels_used: whether users must decode the pixels that the build used, as since version 0.4.

    """
    faults = [*_image_faults(row, limits, changed, are_pixels_used)]
    return [*faults, *_overlay_faults(row, limits), *_record_faults(row)]


def _image_faults(row: Row, limits: ImageLimits, changed: Container[str], are_pixels_used: bool) -> Iterator[str]:
    try:
        loaded = _load(row["image"], limits)
    except UnusableError as error:
        yield f"image is {error.reason}: {error.detail}"
        return
    if loaded.orientation != 1:
        yield f"image has EXIF orientation {loaded.orientation}; published images must be upright"
    elif are_pixels_used and loaded.encoded.data is not row["image"]["bytes"]:
        yield f"image is not as builds publish it ({', '.join(loaded.notices)}): readers decode other pixels from it"
    size_wh = (loaded.pixels.width, loaded.pixels.height)
    if size_wh != (row["width"], row["height"]):
        yield f"image has {size_wh[0]}x{size_wh[1]} px; the row says {row['width']}x{row['height']}"
    sha256 = hashlib.sha256(row["image"]["bytes"]).hexdigest()
    source_sha256 = (row["source"] or {}).get("sha256")
    if sha256 != source_sha256 and row["record_id"] not in changed:
        yield (
            f"image has sha256 {sha256}; source.sha256 is {source_sha256}, and the ledger has no notice that "
            "it was re-encoded"
        )


def _overlay_faults(row: Row, limits: ImageLimits) -> Iterator[str]:
    if "overlay" not in row:
        return
    try:
        size = _load(row["overlay"], limits).pixels.size
    except UnusableError as error:
        yield f"overlay is {error.reason}: {error.detail}"
        return
    if max(size) > OVERLAY_MAX_SIDE_PX:
        yield f"overlay has {size[0]}x{size[1]} px; its longer side must be at most {OVERLAY_MAX_SIDE_PX}"


def _load(value: Any, limits: ImageLimits) -> LoadedImage:
    value = value or {}
    return load_image(value.get("bytes") or b"", value.get("path") or "picture", limits)


def _record_faults(row: Row) -> Iterator[str]:
    try:
        record = row_to_record(row)
    except (RecordError, UnusableError) as error:
        yield str(error)
    else:
        for value, item in zip(row["objects"], record.objects, strict=True):
            if value["area"] != item.area:
                yield f"object {item.id} has area {value['area']}; its mask has {item.area} px"
            box = None if item.box_xywh is None else list(item.box_xywh)
            if value["bbox"] != box:
                yield f"object {item.id} has bbox {value['bbox']}; its mask has {box}"


class RowKeys:
    """Ids and images of some rows of a shard, 8 bytes each, with their numbers in the shard."""

    def __init__(self) -> None:
        self.numbers = array("Q")
        self.ids = array("Q")
        self.images = array("Q")

    def add(self, row: Row, number: int) -> None:
        """Remember a row."""
        self.numbers.append(number)
        self.ids.append(_digest(str(row["record_id"])))
        self.images.append(_digest(str((row["source"] or {}).get("sha256"))))


class Uniqueness:
    """Remembers ids and images of all rows, 8 bytes each, and finds repeated ones."""

    def __init__(self) -> None:
        self._shards: list[Shard] = []
        self._places = array("Q")
        self._ids = array("Q")
        self._images = array("Q")

    def add(self, shard: Shard, keys: RowKeys) -> None:
        """Remember rows of a shard."""
        if not self._shards or self._shards[-1] is not shard:
            self._shards.append(shard)
        first = (len(self._shards) - 1) << 32
        self._places.extend(first | number for number in keys.numbers)
        self._ids.extend(keys.ids)
        self._images.extend(keys.images)

    def faults(self) -> Iterator[Fault]:
        """Yield faults for repeated ids, and for images that are in several splits."""
        for places in _repeated(self._ids):
            for place in places[1:]:
                yield Fault(self._name(place), f"has the record_id of {self._name(places[0])}")
        shared = [
            (place, places[0])
            for places in _repeated(self._images)
            for place in places[1:]
            if self._shard(place).split != self._shard(places[0]).split
        ]
        if shared:
            place, first = min(shared)
            more = f", as have {len(shared):,} rows in all" if len(shared) > 1 else ""
            what = f"has the image of {self._name(first)}, in another split{more}"
            yield Fault(self._name(place), what, is_warning=True)

    def _shard(self, index: int) -> Shard:
        return self._shards[self._places[index] >> 32]

    def _name(self, index: int) -> str:
        return f"{self._shard(index).path} row {self._places[index] & 0xFFFFFFFF}"


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())


def _repeated(keys: array[int]) -> Iterator[list[int]]:
    """Yield the indices of equal keys, in order, for every repeated key."""
    values: NDArray[np.uint64] = np.frombuffer(keys, dtype=np.uint64)
    order = np.argsort(values, kind="stable")
    borders = np.flatnonzero(np.diff(values[order])) + 1
    starts, ends = np.concatenate([[0], borders]), np.concatenate([borders, [values.size]])
    for group in np.flatnonzero(ends - starts > 1):
        yield [int(index) for index in order[starts[group] : ends[group]]]
