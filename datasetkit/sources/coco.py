"""COCO-format data: images with human masks and captions. Owns how COCO's entries become records.

Annotations are indexed, not loaded: memory stays a small part of the files' size.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.image import LoadedImage, load_image
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind, PassedOver
from datasetkit.core.mask import oriented_box
from datasetkit.core.paths import Place, leads_out
from datasetkit.core.protocols import Aligner, Entry, Reading, SourceContext
from datasetkit.core.record import (
    KeyObject,
    Maker,
    ObjectProvenance,
    ObjectStatus,
    Provenance,
    Record,
)
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import one_line
from datasetkit.options import CocoOptions
from datasetkit.sources.coco_index import CocoIndex
from datasetkit.sources.coco_values import identity, is_crowd, read_box, read_shape, whole
from datasetkit.sources.columns import UNKNOWN_LICENSE
from datasetkit.sources.files import as_text
from datasetkit.sources.names import FolderNames, FoundFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Handle:
    """Which image, and which caption where each makes a record of its own; ``duplicate`` marks an id seen before."""

    image: int
    caption: tuple[str, int, int] | None = None
    duplicate: bool = False


class CocoSource:
    """Images, instance masks and captions in COCO's format.

    Raises:
        SourceError: a file is missing or broken, none is given, or none of the images is there.

    """

    def __init__(self, options: CocoOptions, context: SourceContext = SourceContext()) -> None:
        images, instances, captions = options.images, options.instances, options.captions
        if not images.is_dir():
            raise SourceError(f"{images} is not a folder; give the folder of the images")
        if instances is None and captions is None:
            raise SourceError("neither instances nor captions are given; give at least one COCO JSON file")
        if options.caption == "best-aligned" and context.aligner is None:
            raise SourceError("caption best-aligned needs an aligner")
        self._files = FolderNames(images)
        self._options = options
        self._context = context
        self._index = CocoIndex(instances, captions, options.encoding, options.ignore)
        self._are_things = options.crowds == "instances"
        if options.crowds == "auto" and self._index.all_crowds:
            self._are_things = True
            logger.warning(
                "%s: every instance has iscrowd, as CVAT exports masks; they are taken as single things (--crowds keep "
                "takes them as crowds, --crowds instances as things without this warning)",
                instances,
            )
        if instances is not None and len(self._index.instances) and not self._index.categories:
            logger.warning("%s has no categories: no phrase can name an object of it", instances)
        self._check_folder()

    def fingerprint(self) -> str:
        """Hex digest over the annotation files' bytes."""
        return hashlib.sha256("".join(file.sha256 for file in self._index.files).encode()).hexdigest()

    def __len__(self) -> int:
        """How many records there are: images, or captions for ``all``."""
        return sum(1 for _ in self.entries())

    def entries(self) -> Iterator[Entry]:
        """Announce every image in the order of the files, or every caption of it for ``all``."""
        for number, image_id in enumerate(self._index.image_ids):
            annotation_ids = tuple(place[0] for place in self._index.instances.of(number))
            captions = self._index.captions.of(number) if self._options.caption == "all" else []
            seen: set[str] = set()
            if self._index.is_duplicate(number):
                yield Entry(image_id, annotation_ids, None, _Handle(number, duplicate=True))
            elif not captions:
                yield Entry(image_id, annotation_ids, None, _Handle(number))
            for place in captions:
                handle = _Handle(number, place, duplicate=place[0] in seen)
                seen.add(place[0])
                yield Entry(f"{image_id}/{place[0]}", annotation_ids, None, handle)

    def stray_drops(self) -> Iterator[Drop]:
        """Yield entries that are none, and annotations whose image neither file lists."""
        return iter(self._index.drops)

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield keys of the files that are not read."""
        return self._index.passed_over()

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Name the image's file; by the first name that it has where it is not there."""
        names = [*_file_names(self._index.image_entries(entry.handle.image))]
        for name in names:
            with suppress(UnusableError):
                found = self._files.find(name)
                return {found.name: found.path}
        return {name: self._files.folder / name for name in names[:1] if not leads_out(name)}

    def index_files(self) -> Mapping[str, Place]:
        """Name the annotation files by their options."""
        files = {"instances": self._options.instances, "captions": self._options.captions}
        return {option: place for option, place in files.items() if place is not None}

    def read(self, entry: Entry) -> Reading:
        """Open one image, decode its masks and choose its caption.

        Raises:
            UnusableError: the image cannot be used, or the masks belong to another size.

        """
        handle: _Handle = entry.handle
        if handle.duplicate:
            raise UnusableError(DropReason.DUPLICATE_ID, f"id {entry.record_id} was listed before")
        entries = self._index.image_entries(handle.image)
        image = {key: value for one in reversed(entries) for key, value in one.items() if value is not None}
        descriptions = self._descriptions(handle)
        file, data = self._file(entry.record_id, entries)
        loaded = load_image(data, file.path.name, self._context.limits)
        objects, drops, notices = self._objects(entry, image, loaded)
        kinds = [*loaded.notices, *file.changes]
        if handle.image in self._index.respelled:
            kinds.append(NoticeKind.ID_RESPELLED)
        provenance = Provenance(
            uri=str(image.get("flickr_url") or image.get("coco_url") or as_text(file.name)),
            license=self._index.licenses.get(identity(image.get("license")))
            or self._context.license
            or UNKNOWN_LICENSE,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        records = [
            Record(
                entry.record_id,
                self._index.image_ids[handle.image],
                loaded.encoded,
                text,
                provenance,
                objects,
                absent_categories=self._named_by(image.get("neg_category_ids")),
                partial_categories=self._named_by(image.get("not_exhaustive_category_ids")),
            )
            for text in descriptions
        ]
        aligner = self._context.aligner
        record = _most_objects_named(records, aligner) if aligner is not None and len(records) > 1 else records[0]
        noticed = (*(Notice(entry.record_id, kind) for kind in kinds), *notices)
        return Reading(record, loaded.pixels, drops, noticed)

    def _named_by(self, category_ids: object) -> tuple[str, ...]:
        """Return the names of LVIS's lists of categories: those checked absent, and those not marked exhaustively."""
        ids = category_ids if isinstance(category_ids, list) else []
        names = (self._index.categories.get(identity(one)) for one in ids)
        return tuple(name for name in names if name is not None)

    def _file(self, record_id: str, entries: Sequence[Mapping[str, Any]]) -> tuple[FoundFile, bytes]:
        """Read an image by the first of its entries' names that is there."""
        missing = UnusableError(DropReason.MISSING, f"image {record_id} has neither file_name nor coco_url")
        for number, name in enumerate(_file_names(entries)):
            try:
                return self._files.read(name, self._context.limits)
            except UnusableError as error:
                if error.reason is not DropReason.MISSING:
                    raise
                missing = missing if number else error
        raise missing

    def _check_folder(self) -> None:
        """Refuse a folder without any of the images: every one of them would be dropped."""
        if isinstance(self._options.images, RemotePath):
            return
        missed: list[str] = []
        for number in range(len(self._index.image_ids)):
            for name in _file_names(self._index.image_entries(number)):
                try:
                    self._files.find(name)
                except UnusableError as error:
                    if error.reason is not DropReason.MISSING:
                        return
                    missed.append(name)
                else:
                    return
        if missed:
            advice = self._files.advice(missed, "--images")
            raise SourceError(f"{self._options.images} has none of the images that the files name: {advice}")

    def _descriptions(self, handle: _Handle) -> Sequence[str | None]:
        """Return the captions to choose from: several for ``best-aligned``, None where there is no caption."""
        places = [handle.caption] if handle.caption else self._index.captions.of(handle.image)
        texts = (self._index.captions.read(start, length).get("caption") for _, start, length in places)
        captions = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
        if not captions:
            return [None]
        if self._options.caption == "longest":
            return [max(captions, key=len)]
        return captions if self._options.caption == "best-aligned" else captions[:1]

    def _objects(
        self, entry: Entry, image: Mapping[str, Any], loaded: LoadedImage
    ) -> tuple[tuple[KeyObject, ...], tuple[Drop, ...], list[Notice]]:
        places = self._index.instances.of(entry.handle.image)
        if not places:
            return (), (), []
        frame_hw, turn, kinds = _mask_frame(image, loaded)
        if self._are_things and self._options.crowds == "auto":
            kinds.append(NoticeKind.ALL_CROWDS)
        notices = [Notice(entry.record_id, kind) for kind in kinds]
        objects: list[KeyObject] = []
        drops: list[Drop] = []
        for annotation_id, start, length in places:
            annotation = self._index.instances.read(start, length)
            crowd = not self._are_things and is_crowd(annotation.get("iscrowd"))
            try:
                ignored = crowd and self._options.crowds == "ignore"
                mask, around, odd = read_shape(annotation, frame_hw, ignored=ignored)
            except UnusableError as error:
                drops.append(Drop("annotation", annotation_id, error.reason, error.detail))
                continue
            category = self._index.categories.get(identity(annotation.get("category_id")))
            if category is None:
                odd[NoticeKind.UNKNOWN_CATEGORY] = f"category_id is {one_line(annotation.get('category_id'))[:20]}"
            for kind, detail in odd.items():
                where = f"annotation {annotation_id}"
                notices.append(Notice(entry.record_id, kind, f"{where}: {detail}" if detail else where))
            stated = read_box(annotation.get("bbox"))
            maker = Maker.HUMAN if annotation.get("score") is None else Maker.MODEL
            objects.append(
                KeyObject(
                    id=len(objects),
                    mask=mask and mask.oriented(turn),
                    category=category,
                    is_crowd=crowd,
                    source_bbox=stated and oriented_box(stated, frame_hw, turn),
                    box=around and oriented_box(around, frame_hw, turn),
                    provenance=ObjectProvenance(stated and maker, None if mask is None else maker),
                    source_id=annotation_id,
                )
            )
        return tuple(objects), tuple(drops), notices


def _file_names(entries: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """Return the names of an image's file; where there is none, as in LVIS, it is the last part of the address."""
    names: dict[str, None] = {}
    for entry in entries:
        name, address = entry.get("file_name"), entry.get("coco_url")
        if isinstance(name, str) and name.strip():
            names[name] = None
        elif isinstance(address, str) and (last := PurePosixPath(urlsplit(address).path).name):
            names[last] = None
    return names


def _most_objects_named(records: Sequence[Record], aligner: Aligner) -> Record:
    """Annotate records and choose the one whose description names most objects; the earlier one of equals."""
    return max(
        map(aligner.align, records),
        key=lambda record: sum(item.status is ObjectStatus.MENTIONED for item in record.objects),
    )


def _mask_frame(image: Mapping[str, Any], loaded: LoadedImage) -> tuple[tuple[int, int], int, list[NoticeKind]]:
    """Return the size of the image that masks were drawn on, the EXIF orientation to turn them by, and what is odd.

    A side that is not stated, or as null, 0 or no number, fits any image.
    """
    stated = [whole(image.get(side)) for side in ("height", "width")]
    known = [(place, side) for place, side in enumerate(stated) if side is not None and side > 0]
    notices = [NoticeKind.SIZE_UNKNOWN] if len(known) < len(stated) else []
    raw_hw, upright_hw = loaded.raw_size_hw, loaded.encoded.size_hw
    fits_upright = all(upright_hw[place] == side for place, side in known)
    if all(raw_hw[place] == side for place, side in known):
        if loaded.orientation != 1 and fits_upright:
            notices.append(NoticeKind.MASK_FRAME_ASSUMED_RAW)
        return raw_hw, loaded.orientation, notices
    if fits_upright:
        return upright_hw, 1, notices
    height, width = upright_hw
    raise UnusableError(
        DropReason.SIZE_MISMATCH,
        f"masks are for {stated[1]}x{stated[0]} px, the image {loaded.encoded.name} has {width}x{height} px",
    )
