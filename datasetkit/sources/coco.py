"""COCO-format data: pictures with human masks and captions. Owns how COCO's entries become records.

Annotations are indexed, not loaded: memory stays a small part of the files' size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.image import LoadedImage, load_image
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.core.mask import Mask
from datasetkit.core.paths import Place, leads_out, path_inside
from datasetkit.core.protocols import Aligner, Entry, Reading, SourceContext
from datasetkit.core.record import KeyObject, ObjectStatus, Provenance, Record
from datasetkit.core.remote import RemotePath
from datasetkit.options import CocoOptions
from datasetkit.sources.coco_index import CocoIndex
from datasetkit.sources.columns import UNKNOWN_LICENSE
from datasetkit.sources.files import read_picture

_FARTHEST_PX = 2**31
_LOOKED_FOR = 20


@dataclass(frozen=True, slots=True)
class _Handle:
    """Which picture, and which caption where each makes a record of its own; ``duplicate`` marks an id seen before."""

    image: int
    caption: tuple[int, int, int] | None = None
    duplicate: bool = False


class CocoSource:
    """Pictures, instance masks and captions in COCO's format.

    Raises:
        SourceError: a file is missing or broken, or none is given.

    """

    def __init__(self, options: CocoOptions, context: SourceContext = SourceContext()) -> None:
        images, instances, captions = options.images, options.instances, options.captions
        if not images.is_dir():
            raise SourceError(f"{images} is no folder; give the folder of the pictures")
        if instances is None and captions is None:
            raise SourceError("neither instances nor captions are given; give at least one COCO JSON file")
        if options.caption == "best-aligned" and context.aligner is None:
            raise SourceError("caption best-aligned needs an aligner")
        self._images = images if isinstance(images, RemotePath) else images.resolve()
        self._options = options
        self._context = context
        self._index = CocoIndex(instances, captions)
        self._check_level()

    def fingerprint(self) -> str:
        """Hex digest over the annotation files' bytes."""
        return hashlib.sha256("".join(file.sha256 for file in self._index.files).encode()).hexdigest()

    def __len__(self) -> int:
        """How many records there are: pictures, or captions for ``all``."""
        return sum(1 for _ in self.entries())

    def entries(self) -> Iterator[Entry]:
        """Announce every picture in the order of the files, or every caption of it for ``all``."""
        for number, image_id in enumerate(self._index.image_ids):
            annotation_ids = tuple(str(place[0]) for place in self._index.instances.of(number))
            captions = self._index.captions.of(number) if self._options.caption == "all" else []
            seen: set[int] = set()
            if self._index.is_duplicate(number):
                yield Entry(str(image_id), annotation_ids, None, _Handle(number, duplicate=True))
            elif not captions:
                yield Entry(str(image_id), annotation_ids, None, _Handle(number))
            for place in captions:
                handle = _Handle(number, place, duplicate=place[0] in seen)
                seen.add(place[0])
                yield Entry(f"{image_id}/{place[0]}", annotation_ids, None, handle)

    def stray_drops(self) -> Iterator[Drop]:
        """Annotations whose picture neither file lists."""
        for annotation_id, image_id in self._index.strays:
            detail = f"no picture has id {image_id}; its entry is missing"
            yield Drop("annotation", annotation_id, DropReason.UNKNOWN_IMAGE, detail)

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Name the picture's file."""
        name = self._index.image(entry.handle.image).get("file_name")
        return {name: self._images / name} if isinstance(name, str) and name and not leads_out(name) else {}

    def index_files(self) -> Mapping[str, Place]:
        """Name the annotation files by their options."""
        files = {"instances": self._options.instances, "captions": self._options.captions}
        return {option: place for option, place in files.items() if place is not None}

    def read(self, entry: Entry) -> Reading:
        """Open one picture, decode its masks and choose its caption.

        Raises:
            UnusableError: the picture or its description cannot be used, or the masks belong to another size.

        """
        handle: _Handle = entry.handle
        if handle.duplicate:
            raise UnusableError(DropReason.DUPLICATE_ID, f"id {entry.record_id} was listed before")
        image = self._index.image(handle.image)
        descriptions = self._descriptions(handle)
        file_name = image.get("file_name")
        if not isinstance(file_name, str) or not file_name:
            raise UnusableError(DropReason.MISSING, f"picture {entry.record_id} has no file_name")
        data = read_picture(path_inside(self._images, file_name), self._context.limits, self._images)
        loaded = load_image(data, PurePosixPath(file_name).name, self._context.limits)
        objects, drops, notices = self._objects(handle.image, image, loaded)
        kinds = (*loaded.notices, *notices)
        provenance = Provenance(
            uri=str(image.get("flickr_url") or image.get("coco_url") or file_name),
            license=_found(self._index.licenses, image.get("license")) or self._context.license or UNKNOWN_LICENSE,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        records = [
            Record(entry.record_id, str(image["id"]), loaded.encoded, text, provenance, objects)
            for text in descriptions
        ]
        aligner = self._context.aligner
        record = _most_objects_named(records, aligner) if aligner is not None and len(records) > 1 else records[0]
        return Reading(record, loaded.pixels, drops, tuple(Notice(entry.record_id, kind) for kind in kinds))

    def _check_level(self) -> None:
        """Refuse a folder whose own folder has the pictures: every one of them would be dropped."""
        if isinstance(self._images, RemotePath):
            return
        first = (
            self._index.image(number).get("file_name") for number in range(min(_LOOKED_FOR, len(self._index.image_ids)))
        )
        names = [name for name in first if isinstance(name, str) and not leads_out(name)]
        for folder in (self._images, *sorted(path for path in self._images.iterdir() if path.is_dir())):
            if any(os.path.isfile(folder / name) for name in names):  # noqa: PTH113 - false for what no path can be
                if folder != self._images:
                    raise SourceError(f"{self._images} has none of the first pictures, but {folder} has; give that one")
                return

    def _descriptions(self, handle: _Handle) -> Sequence[str | None]:
        """Return the captions to choose from: several for ``best-aligned``, None where there is no caption."""
        places = [handle.caption] if handle.caption else self._index.captions.of(handle.image)
        texts = (str(self._index.caption(start, length).get("caption") or "").strip() for _, start, length in places)
        captions = [text for text in texts if text]
        if not captions:
            return [None]
        if self._options.caption == "longest":
            return [max(captions, key=len)]
        return captions if self._options.caption == "best-aligned" else captions[:1]

    def _objects(
        self, number: int, image: Mapping[str, Any], loaded: LoadedImage
    ) -> tuple[tuple[KeyObject, ...], tuple[Drop, ...], tuple[NoticeKind, ...]]:
        places = self._index.instances.of(number)
        if not places:
            return (), (), ()
        stated_hw = (image.get("height", loaded.raw_size_hw[0]), image.get("width", loaded.raw_size_hw[1]))
        frame_hw, turn = _mask_frame(stated_hw, loaded)
        objects: list[KeyObject] = []
        drops = []
        for annotation_id, start, length in places:
            annotation = self._index.instance(start, length)
            try:
                mask = Mask.from_coco(annotation.get("segmentation"), frame_hw).oriented(turn)
            except UnusableError as error:
                drops.append(Drop("annotation", str(annotation_id), error.reason, error.detail))
                continue
            objects.append(
                KeyObject(
                    id=len(objects),
                    mask=mask,
                    category=_found(self._index.categories, annotation.get("category_id")),
                    is_crowd=bool(annotation.get("iscrowd")),
                    source_bbox=_box(annotation.get("bbox")) if turn == 1 else None,
                )
            )
        both_frames_fit = turn != 1 and frame_hw == loaded.encoded.size_hw
        return tuple(objects), tuple(drops), (NoticeKind.MASK_FRAME_ASSUMED_RAW,) if both_frames_fit else ()


def _most_objects_named(records: Sequence[Record], aligner: Aligner) -> Record:
    """Annotate records and choose the one whose description names most objects; the earlier one of equals."""
    return max(
        map(aligner.align, records),
        key=lambda record: sum(item.status is ObjectStatus.MENTIONED for item in record.objects),
    )


def _mask_frame(stated_hw: tuple[Any, Any], loaded: LoadedImage) -> tuple[tuple[int, int], int]:
    """Tell the size of the picture that masks were drawn on, and by which EXIF orientation they must be turned."""
    if stated_hw == loaded.raw_size_hw:
        return loaded.raw_size_hw, loaded.orientation
    if stated_hw == loaded.encoded.size_hw:
        return loaded.encoded.size_hw, 1
    height, width = loaded.encoded.size_hw
    raise UnusableError(
        DropReason.SIZE_MISMATCH,
        f"masks are for {stated_hw[1]}x{stated_hw[0]} px, the picture {loaded.encoded.name} has {width}x{height} px",
    )


def _found(names: Mapping[Any, str], key: object) -> str | None:
    return names.get(key) if isinstance(key, int | str) else None


def _box(value: object) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(number, int | float) and abs(number) <= _FARTHEST_PX for number in value):  # NaN fails this
        return None
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])
