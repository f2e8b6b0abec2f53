"""The source of all formats that have a reader. Owns the way from a reader's entries to records.

It chooses among descriptions, finds image files by the names that data sets use for them, and keeps an entry that
cannot be parsed apart from all others.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import PurePosixPath

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.given import GivenImage, GivenText
from datasetkit.core.image import load_image
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import DropReason, Notice, NoticeKind, PassedOver, PassedOverCounts
from datasetkit.core.paths import Place, files_below, leads_out
from datasetkit.core.protocols import Entry, Reading, Source, SourceContext
from datasetkit.core.record import Provenance, Record
from datasetkit.core.text import one_line
from datasetkit.options.sources import READERS, FromOptions
from datasetkit.runtime.registry import Origin
from datasetkit.sources.choosing import most_objects_named
from datasetkit.sources.columns import UNKNOWN_LICENSE
from datasetkit.sources.files import (
    IMAGE_SUFFIXES,
    as_text,
    read_image,
    split_of_folder,
    split_of_value,
    split_of_words,
)
from datasetkit.sources.given.detection import format_of, reader_of
from datasetkit.sources.given.formats.built import BUILT, source_of_built
from datasetkit.sources.given.formats.coco import COCO, source_of_coco
from datasetkit.sources.given.look import folder_of
from datasetkit.sources.given.objects import objects_of
from datasetkit.sources.given.phrases import links_of
from datasetkit.sources.given.reader import BROKEN, Given
from datasetkit.sources.given.survey import Fault, Survey, is_repeated, without_repeats
from datasetkit.sources.names import FolderNames, FoundFile

logger = logging.getLogger(__name__)

# Formats that sources of their own read, without a reader.
_SOURCES = {BUILT: source_of_built, COCO: source_of_coco}
_READ_AHEAD = 256
_ADVISED = 20


@dataclass(frozen=True, slots=True)
class _Handle:
    """One entry of the reader, and which of its texts is the description.

    Args:
        handle: what the reader needs.
        text: number of the text, or None to choose one.
        fault: why the entry cannot be used, or None.

    """

    handle: Hashable
    text: int | None = None
    fault: Fault | None = None


def open_given(options: FromOptions, context: SourceContext = SourceContext()) -> Source:
    """Open a place: by the reader of its format, or by the source that reads the format in full.

    Raises:
        SourceError: the format is not known, or the data set cannot be read.

    """
    name = format_of(options)
    if name in _SOURCES:
        return _SOURCES[name](options, context)
    return GivenSource(options, name, context)


class GivenSource(Source):
    """Images with whatever a data set of a known format states about them.

    Args:
        options: the place, and what is read from it.
        name: of its format.
        context: limits, and the aligner that chooses among descriptions.

    Raises:
        SourceError: the data set cannot be read, or none of its images exists.

    """

    def __init__(self, options: FromOptions, name: str, context: SourceContext = SourceContext()) -> None:
        self._options = options
        self._context = context
        self._passed_over = PassedOverCounts()
        given = Given(options.place, options.captions, options.encoding, self._passed_over)
        self._format, self._reader = name, reader_of(name, given)
        self._names = FolderNames(options.images or folder_of(options.place))
        self._parsed = lru_cache(_READ_AHEAD)(self._reader.read)
        self._check_images()

    @property
    def origin(self) -> Origin | None:
        """Where the reader comes from; None for one of datasetkit's own."""
        return READERS.origin(self._format)

    def fingerprint(self) -> str:
        """Return a hex digest of all that the entries are parsed from."""
        return self._reader.fingerprint()

    def __len__(self) -> int:
        """Return the number of records; the first call logs what the data set has."""
        return self._survey.records

    @cached_property
    def _survey(self) -> Survey:
        """Parse all entries once, and log what they have."""
        survey = Survey()
        for _, _, image in self._images():
            survey.add(image, self._numbers_of(image))
        logger.info("%s is read as %s: %s", self._options.place, self._format, survey)
        return survey

    def _images(self) -> Iterator[tuple[int, Hashable, GivenImage | Fault]]:
        """Yield number, handle and contents of each entry, or why it cannot be used."""
        for number, handle in enumerate(self._reader.handles()):
            try:
                yield number, handle, self._reader.read(handle)
            except UnusableError as error:
                yield number, handle, Fault(error.reason, error.detail)
            except BROKEN as error:
                detail = f"it is not of the format ({type(error).__name__}: {one_line(error)})"
                yield number, handle, Fault(DropReason.BAD_ENTRY, detail)

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each image, or for each of its texts for ``all``."""
        seen: set[str] = set()
        for number, handle, image in self._images():
            if isinstance(image, Fault):
                yield Entry(f"entry {number}", (), None, _Handle(handle, fault=image))
                continue
            record_id, split = image.entry or image.id, self._split_of(image)
            objects = tuple(item.source_id or f"{record_id}/{item.key}" for item in image.objects)
            for place in self._numbers_of(image):
                own_id = record_id if place is None else f"{record_id}/{image.texts[place].id or place}"
                fault = Fault(DropReason.DUPLICATE_ID, f"id {own_id} was listed before") if own_id in seen else None
                yield Entry(own_id, objects, split, _Handle(handle, place, fault))
                seen.add(own_id)

    def _numbers_of(self, image: GivenImage | Fault) -> Sequence[int | None]:
        """Return the numbers of the texts that become records of their own; None for a record that chooses a text."""
        texts = () if isinstance(image, Fault) or self._options.caption != "all" else without_repeats(image.texts)
        return texts if len(texts) > 1 else (None,)

    def _split_of(self, image: GivenImage) -> str | None:
        """Return the split that the entry names, else the folder of its image, else the name of the data set."""
        of_folder = split_of_folder(image.names[0]) if image.names else None
        return split_of_value(image.split) or of_folder or split_of_words(self._options.place.name)

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Return the path of the image's file; by the first of its names if no file exists."""
        handle: _Handle = entry.handle
        if handle.fault is not None:
            return {}
        image = self._parsed(handle.handle)
        if image.data is not None:
            return {}
        try:
            found = self._find(image)
        except UnusableError:
            named = image.names[:1] if image.spare is None else ()
            return {name: self._names.folder / name for name in named if not leads_out(name)}
        return {found.name: found.path}

    def index_files(self) -> Mapping[str, Place]:
        """Return the files that all entries depend on."""
        return {index.path.name: index.path for index in self._reader.indexes}

    def label_map(self) -> LabelMap:
        """Return the categories of the data set."""
        return self._reader.label_map()

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield what the data set states and no record holds."""
        found = PassedOverCounts()
        found.update(self._passed_over)
        for (kind, name), count in self._survey.passed_over.items():
            found.add(kind, name, count)
        return iter(found)

    def read(self, entry: Entry) -> Reading:
        """Load one image, and make its record.

        Raises:
            UnusableError: the image or the entry cannot be used.

        """
        handle: _Handle = entry.handle
        if handle.fault is not None:
            raise UnusableError(handle.fault.reason, handle.fault.detail)
        image = self._parsed(handle.handle)
        file, data = self._data(image)
        name = file.name if file is not None else image.names[0] if image.names else image.id
        loaded = load_image(data, PurePosixPath(name).name, self._context.limits)
        sha256 = hashlib.sha256(data).hexdigest()
        found = objects_of(entry.record_id, image, loaded)
        kinds = [*loaded.notices, *(file.changes if file is not None else ())]
        texts = image.texts if handle.text is None else image.texts[handle.text : handle.text + 1]
        if is_repeated(image.texts, texts):
            kinds.append(NoticeKind.REPEATED_TEXT)
        license_name = image.license or self._context.license or UNKNOWN_LICENSE
        record = Record(
            entry.record_id,
            image.id,
            loaded.encoded,
            None,
            Provenance(image.uri or as_text(name), license_name, sha256),
            found.objects,
            questions=image.questions,
            absent_categories=image.absent,
            partial_categories=image.partial,
        )
        notices = tuple(Notice(entry.record_id, kind) for kind in kinds) + found.notices
        hashes = {} if file is None else {file.name: sha256}
        plain = Reading(
            record,
            loaded.pixels,
            found.drops,
            notices,
            synonyms=image.synonyms,
            is_searched=image.is_searched,
            hashes=hashes,
        )
        readings = [self._described(plain, image, text, found.ids) for text in self._candidates(texts)]
        aligner = self._context.aligner
        return most_objects_named(readings, aligner) if aligner is not None and len(readings) > 1 else readings[0]

    def _described(self, plain: Reading, image: GivenImage, text: GivenText | None, ids: Mapping[str, int]) -> Reading:
        links = links_of(text, ids, image.links)
        record = replace(plain.record, description=links.description, phrases=links.phrases)
        notices = [Notice(record.record_id, NoticeKind.LINK_UNUSABLE, fault) for fault in links.faults]
        if links.phrases:
            notices.append(Notice(record.record_id, NoticeKind.LINKS_GIVEN))
        return replace(
            plain, record=record, notices=(*plain.notices, *notices), has_given_links=image.links is not None
        )

    def _candidates(self, texts: Sequence[GivenText]) -> Sequence[GivenText | None]:
        described = [text for text in texts if text.text.strip()]
        if not described:
            return [None]
        if self._options.caption == "longest":
            return [max(described, key=lambda text: len(text.text.strip()))]
        return described if self._options.caption == "best-aligned" else described[:1]

    def _data(self, image: GivenImage) -> tuple[FoundFile | None, bytes]:
        if image.data is not None:
            return None, image.data() if callable(image.data) else image.data
        try:
            file = self._find(image)
        except UnusableError:
            if image.spare is None:
                raise
            try:
                return None, image.spare()
            except BROKEN as error:
                raise UnusableError(DropReason.BAD_ENTRY, f"its image is broken ({one_line(error)})") from None
        return file, read_image(file.path, self._context.limits, self._names.folder)

    def _find(self, image: GivenImage) -> FoundFile:
        """Find the file of an image by its names, or by the longest common end of a name.

        Raises:
            UnusableError: there is none.

        """
        missing = UnusableError(DropReason.MISSING, f"the entry of image {image.id} names no file")
        for name in image.names:
            try:
                return self._names.find(name)
            except UnusableError as error:
                missing = error
        for name in image.names:
            if found := self._names.by_tail(name):
                return found
        if image.sha256 is not None and (same := self._by_sha256.get(image.sha256.lower())):
            return FoundFile(same, self._names.folder)
        raise missing

    @cached_property
    def _by_sha256(self) -> Mapping[str, str]:
        """Names of all image files by the hash of their bytes."""
        found: dict[str, str] = {}
        for name, path in files_below(self._names.folder):
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
                with suppress(UnusableError):
                    found.setdefault(hashlib.sha256(read_image(path, self._context.limits)).hexdigest(), name)
        return found

    def _check_images(self) -> None:
        """Refuse a folder that has none of the images: every image would be dropped."""
        missed: list[str] = []
        for handle in self._reader.handles():
            try:
                image = self._parsed(handle)
            except (UnusableError, *BROKEN):
                continue
            if image.data is not None or image.spare is not None or not image.names:
                return
            try:
                self._find(image)
            except UnusableError as error:
                if error.reason not in {DropReason.MISSING, DropReason.PATH_ESCAPES}:
                    return
                missed.append(image.names[0])
            else:
                return
            if len(missed) == _ADVISED:
                break
        if missed:
            advice = self._names.advice(missed, "--images")
            raise SourceError(f"{self._names.folder} has none of the first images of {self._options.place}: {advice}")
