"""COCO-format data: images with human masks and captions. Owns how COCO's entries become records.

Annotations are indexed, not loaded, so that memory stays far below the size of the files. Files that datasetkit
exported are read back as the original records, with the edits that people have made in them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.image import LoadedImage, load_image
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind, PassedOver
from datasetkit.core.paths import Place, leads_out
from datasetkit.core.protocols import Entry, Reading, SourceContext
from datasetkit.core.record import Provenance, Record
from datasetkit.core.remote import RemotePath
from datasetkit.options import CocoOptions
from datasetkit.sources.choosing import most_objects_named
from datasetkit.sources.coco_index import CocoIndex
from datasetkit.sources.coco_objects import ObjectReader
from datasetkit.sources.coco_records import (
    UNFIT,
    Json,
    contradicts_links,
    is_own_caption,
    is_own_image,
    links_of,
    listed_objects,
    own_name,
    provenance_of,
)
from datasetkit.sources.coco_values import identity, spelled
from datasetkit.sources.columns import UNKNOWN_LICENSE
from datasetkit.sources.files import as_text
from datasetkit.sources.names import FolderNames, FoundFile, file_stem
from datasetkit.sources.rows import is_other

logger = logging.getLogger(__name__)

_NOT_THERE = frozenset({DropReason.MISSING, DropReason.PATH_ESCAPES})


@dataclass(frozen=True, slots=True)
class _Handle:
    """One image, or one of its captions if each caption is a record; ``duplicate`` marks an id that was seen before.

    ``objects`` are the record's annotations, each with what its caption says about it; None for all of the image.
    """

    image: int
    caption: tuple[int, int] | None = None
    duplicate: bool = False
    objects: Mapping[str, Json] | None = None


class CocoSource:
    """Images, instance masks and captions in COCO's format.

    Raises:
        SourceError: a file is missing or broken, neither file was given, or none of the images exists.

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
                "%s: every instance has iscrowd, as in CVAT's mask exports; they are read as single objects (--crowds "
                "keep reads them as crowds, --crowds instances as single objects without this warning)",
                instances,
            )
        if instances is not None and len(self._index.instances) and not self._index.categories:
            logger.warning("%s has no categories, so phrases cannot name its objects", instances)
        self._objects = ObjectReader(self._index, options.crowds, are_things=self._are_things)
        self._check_folder()

    def fingerprint(self) -> str:
        """Return a hex digest of the annotation files' bytes."""
        return hashlib.sha256("".join(file.sha256 for file in self._index.files).encode()).hexdigest()

    def __len__(self) -> int:
        """Return the number of records: images, or captions for ``all``."""
        index, numbers = self._index, range(len(self._index.image_ids))
        if not self._takes_all:
            return len(numbers)
        return sum(1 if index.is_duplicate(one) else max(len(index.captions.of(one)), 1) for one in numbers)

    @property
    def _takes_all(self) -> bool:
        """Whether every caption becomes a record."""
        return self._options.caption == "all" or (self._options.caption == "auto" and self._index.has_records)

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for every image in the order of the files, or for each of its captions for ``all``."""
        record_ids: set[str] = set()
        for number, image_id in enumerate(self._index.image_ids):
            annotation_ids = tuple(place[0] for place in self._index.instances.of(number))
            places = self._index.captions.of(number) if self._takes_all else []
            if self._index.is_duplicate(number):
                yield Entry(image_id, annotation_ids, None, _Handle(number, duplicate=True))
            elif places:
                yield from self._entries_of(number, annotation_ids, places, record_ids)
            else:
                yield Entry(image_id, annotation_ids, None, _Handle(number))

    def _entries_of(
        self, number: int, annotation_ids: tuple[str, ...], places: Sequence[tuple[str, int, int]], record_ids: set[str]
    ) -> Iterator[Entry]:
        """Yield an entry per caption of an image; exported captions have the ids and objects of their records."""
        captions = [self._index.captions.read(start, length) for _, start, length in places]
        seen: set[str] = set()
        for (caption_id, *place), caption in zip(places, captions, strict=True):
            if is_own_caption(caption):
                record_id, known = str(spelled(caption["record_id"])), record_ids
                objects = listed_objects(caption, captions, annotation_ids)
            else:
                record_id, known = f"{self._index.image_ids[number]}/{caption_id}", seen
                objects = None
            kept = tuple(one for one in annotation_ids if objects is None or one in objects)
            yield Entry(record_id, kept, None, _Handle(number, (place[0], place[1]), record_id in known, objects))
            known.add(record_id)

    def label_map(self) -> LabelMap:
        """Return the files' categories."""
        return tuple(self._index.categories.values())

    def stray_drops(self) -> Iterator[Drop]:
        """Yield entries that cannot be read, and annotations whose image is in neither file."""
        return iter(self._index.drops)

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield keys of the files that are not read."""
        return self._index.passed_over()

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Return the path of the image's file; by the first of its names if no file exists."""
        names = [*_file_names(self._index.image_entries(entry.handle.image))]
        for name in names:
            with suppress(UnusableError):
                found = self._files.find(name)
                return {found.name: found.path}
        return {name: self._files.folder / name for name in names[:1] if not leads_out(name)}

    def index_files(self) -> Mapping[str, Place]:
        """Return the paths of the annotation files by their options."""
        files = {"instances": self._options.instances, "captions": self._options.captions}
        return {option: place for option, place in files.items() if place is not None}

    def read(self, entry: Entry) -> Reading:
        """Load one image, decode its masks and choose its caption.

        Raises:
            UnusableError: the image cannot be used, or the masks are for another size.

        """
        handle: _Handle = entry.handle
        if handle.duplicate:
            raise UnusableError(DropReason.DUPLICATE_ID, f"id {entry.record_id} was listed before")
        entries = self._index.image_entries(handle.image)
        image = {key: value for one in reversed(entries) for key, value in one.items() if value is not None}
        captions = self._captions(handle)
        file, data = self._file(entry.record_id, entries)
        loaded = load_image(data, file.path.name, self._context.limits)
        found = self._objects.read(entry.record_id, handle.image, image, loaded, handle.objects)
        kinds = [*loaded.notices, *file.changes]
        if handle.image in self._index.respelled:
            kinds.append(NoticeKind.ID_RESPELLED)
        if _differ(_file_names(entries)):
            kinds.append(NoticeKind.NAMES_DIFFER)
        sha256 = hashlib.sha256(data).hexdigest()
        source, image_id, name, odd = self._about(handle.image, image, file, loaded, sha256)
        record = Record(
            entry.record_id,
            image_id,
            replace(loaded.encoded, name=name),
            None,
            source,
            found.objects,
            absent_categories=self._named_by(image.get("neg_category_ids")),
            partial_categories=self._named_by(image.get("not_exhaustive_category_ids")),
        )
        notices = (*(Notice(entry.record_id, kind) for kind in kinds), *found.notices)
        notices += tuple(Notice(entry.record_id, kind, detail) for kind, detail in odd.items())
        plain = Reading(record, loaded.pixels, found.drops, notices, hashes={file.name: sha256})
        readings = [self._described(plain, caption, found.ids) for caption in captions]
        aligner = self._context.aligner
        return most_objects_named(readings, aligner) if aligner is not None and len(readings) > 1 else readings[0]

    def _about(
        self, number: int, image: Json, file: FoundFile, loaded: LoadedImage, sha256: str
    ) -> tuple[Provenance, str, str, dict[NoticeKind, str]]:
        """Return an image's origin, id and name, and what is wrong with the origin in an export of datasetkit."""
        path = as_text(file.name)
        uri = str(image.get("flickr_url") or image.get("coco_url") or path)
        named = self._index.licenses.get(identity(image.get("license")))
        source = Provenance(uri, named or self._context.license or UNKNOWN_LICENSE, sha256)
        image_id, name, odd = self._index.image_ids[number], loaded.encoded.name, dict[NoticeKind, str]()
        if is_own_image(image):
            try:
                source = provenance_of(image, source)
                image_id = spelled(image["source_id"]) or image_id
            except UNFIT as error:
                odd[NoticeKind.DETAILS_UNUSABLE] = f"the image's source: {error}"
            if is_other(loaded, source.sha256):
                odd[NoticeKind.OTHER_BYTES] = ""
        if "://" in source.uri:  # a URL does not say in which folder the file is; the image's name does
            name = str(PurePosixPath(path.replace("\\", "_")).with_name(name))
        return source, image_id, own_name(image) or name, odd

    def _described(self, plain: Reading, caption: Json, ids: Mapping[str, int]) -> Reading:
        """Add a caption to its image's record, together with what an export of datasetkit says about the record."""
        text = _words(caption)
        if not is_own_caption(caption):
            return replace(plain, record=replace(plain.record, description=text and text.strip()))
        has_links = self._options.instances is not None and not self._options.relabel
        links = links_of(caption, text, ids, has_links=has_links)
        language = caption.get("language")
        record = replace(
            plain.record,
            description=text,
            phrases=links.phrases,
            questions=links.questions,
            language=language if isinstance(language, str) else None,
        )
        is_edited = links.are_given and contradicts_links(record)
        kinds = [(NoticeKind.LINK_UNUSABLE, fault) for fault in links.faults]
        kinds += [(NoticeKind.LINKS_GIVEN, "")] if links.are_given and links.phrases else []
        kinds += [(NoticeKind.LINKS_EDITED, "")] if is_edited else []
        notices = (*plain.notices, *(Notice(record.record_id, kind, detail) for kind, detail in kinds))
        return replace(plain, record=record, notices=notices, is_annotated=links.are_given, is_edited=is_edited)

    def _named_by(self, category_ids: object) -> tuple[str, ...]:
        """Return the names in LVIS's lists: categories verified as absent, and those not exhaustively annotated."""
        ids = category_ids if isinstance(category_ids, list) else []
        categories = (self._index.categories.get(identity(one)) for one in ids)
        return tuple(category.name for category in categories if category is not None)

    def _file(self, record_id: str, entries: Sequence[Mapping[str, Any]]) -> tuple[FoundFile, bytes]:
        """Read an image by the first of its entries' names that exists."""
        missing = UnusableError(DropReason.MISSING, f"image {record_id} has neither file_name nor coco_url")
        for number, name in enumerate(_file_names(entries)):
            try:
                return self._files.read(name, self._context.limits)
            except UnusableError as error:
                if error.reason not in _NOT_THERE:
                    raise
                missing = missing if number else error
        raise missing

    def _check_folder(self) -> None:
        """Refuse a folder that has none of the images: every image would be dropped."""
        if isinstance(self._options.images, RemotePath):
            return
        missed: list[str] = []
        for number in range(len(self._index.image_ids)):
            for name in _file_names(self._index.image_entries(number)):
                try:
                    self._files.find(name)
                except UnusableError as error:
                    if error.reason not in _NOT_THERE:
                        return
                    missed.append(name)
                else:
                    return
        if missed:
            advice = self._files.advice(missed, "--images")
            raise SourceError(f"{self._options.images} has none of the images that the files list: {advice}")

    def _captions(self, handle: _Handle) -> Sequence[Json]:
        """Return the captions to choose from: several for ``best-aligned``, an empty one if there is none."""
        captions = self._index.captions
        if handle.caption is not None:
            return [captions.read(*handle.caption)]
        every = [captions.read(start, length) for _, start, length in captions.of(handle.image)]
        described = [caption for caption in every if _words(caption)]
        if described and self._options.caption == "longest":
            return [max(described, key=lambda caption: len(str(_words(caption)).strip()))]
        found = described or every or [{}]
        return found if self._options.caption == "best-aligned" else found[:1]


def _file_names(entries: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """Return the names of an image's file; without file_name, as in LVIS, it is the last part of the URL."""
    names: dict[str, None] = {}
    for entry in entries:
        name, address = entry.get("file_name"), entry.get("coco_url")
        if isinstance(name, str) and name.strip():
            names[name] = None
        elif isinstance(address, str) and (last := PurePosixPath(urlsplit(address).path).name):
            names[last] = None
    return names


def _differ(names: Iterable[str]) -> bool:
    """Return whether names belong to different files; COCO 2014 prefixes the names of 2017 with COCO_train2014_."""
    stems = sorted({file_stem(name) for name in names}, key=len)
    return not all(longer.endswith(stems[0]) for longer in stems)


def _words(caption: Json) -> str | None:
    text = caption.get("caption")
    return text if isinstance(text, str) and text.strip() else None
