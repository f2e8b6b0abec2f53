"""COCO-format data: pictures with human masks and captions. Owns COCO's two annotation files.

Annotations are indexed, not loaded: memory stays a small part of the files' size.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from datasetkit.errors import SourceError, UnusableError
from datasetkit.images import ImageLimits, LoadedImage, load_image
from datasetkit.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.masks import Mask
from datasetkit.protocols import Annotator, Entry, Reading
from datasetkit.recipe import Recipe
from datasetkit.record import KeyObject, Provenance, Record
from datasetkit.sources.files import path_inside, read_picture
from datasetkit.sources.json_index import JsonFile, Postings
from datasetkit.sources.licenses import UNKNOWN_LICENSE, license_identifier

CaptionChoice = Literal["first", "longest", "all", "best-aligned"]
Caption = tuple[int, str]


@dataclass(frozen=True, slots=True)
class _Handle:
    """Which picture, and which caption where each makes a record of its own; ``duplicate`` marks an id seen before."""

    image: int
    caption: tuple[int, int, int] | None = None
    duplicate: bool = False


class CocoSource:
    """Pictures, instance masks and captions in COCO's format.

    Args:
        images: folder of the pictures.
        instances: COCO instances JSON, or None.
        captions: COCO captions JSON, or None.
        caption: which of a picture's captions becomes the description; ``all`` makes one record a caption.
        best_aligned: gives, for ``best-aligned``, the record among several of one picture whose description names
            most of its objects.
        require_description: whether a picture without a caption is dropped.
        default_license: of pictures whose record names none.
        limits: of pictures.

    Raises:
        SourceError: a file is missing or broken, or none is given.

    """

    def __init__(
        self,
        images: Path,
        instances: Path | None,
        captions: Path | None,
        *,
        caption: CaptionChoice = "first",
        best_aligned: Callable[[Sequence[Record]], Record] | None = None,
        require_description: bool = True,
        default_license: str | None = None,
        limits: ImageLimits = ImageLimits(),
    ) -> None:
        if not images.is_dir():
            raise SourceError(f"{images} is no folder; give the folder of the pictures")
        if instances is None and captions is None:
            raise SourceError("neither instances nor captions are given; give at least one COCO JSON file")
        if caption == "best-aligned" and best_aligned is None:
            raise SourceError("caption best-aligned needs an aligner")
        self._images = images.resolve()
        self._caption: CaptionChoice = caption
        self._best_aligned = best_aligned
        self._require_description = require_description
        self._default_license = default_license or UNKNOWN_LICENSE
        self._limits = limits
        self._index = _Index(instances, captions)

    @classmethod
    def from_recipe(cls, recipe: Recipe, annotator: Annotator) -> CocoSource:
        """Open the source that a recipe describes; ``best-aligned`` asks the annotator.

        Raises:
            SourceError: as the class.

        """
        options: Any = recipe.source
        return cls(
            options.images,
            options.instances,
            options.captions,
            caption=options.caption,
            best_aligned=lambda records: _most_objects_named(records, annotator),
            require_description=options.require_description,
            default_license=recipe.license,
            limits=recipe.image_limits,
        )

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
            captions = self._index.captions.of(number) if self._caption == "all" else []
            if self._index.is_duplicate(number):
                yield Entry(str(image_id), annotation_ids, None, _Handle(number, duplicate=True))
            elif not captions:
                yield Entry(str(image_id), annotation_ids, None, _Handle(number))
            for place in captions:
                yield Entry(f"{image_id}/{place[0]}", annotation_ids, None, _Handle(number, place))

    def stray_drops(self) -> Iterator[Drop]:
        """Annotations whose picture neither file lists."""
        for annotation_id, image_id in self._index.strays:
            yield Drop(
                "annotation",
                annotation_id,
                DropReason.UNKNOWN_IMAGE,
                f"no picture has id {image_id}; its entry is missing",
            )

    def read(self, entry: Entry) -> Reading:
        """Open one picture, decode its masks and choose its caption.

        Raises:
            UnusableError: the picture or its description cannot be used, or the masks belong to another size.

        """
        handle: _Handle = entry.handle
        if handle.duplicate:
            raise UnusableError(DropReason.DUPLICATE_ID, f"picture id {entry.record_id} was listed before")
        image = self._index.image(handle.image)
        captions = self._captions_of(handle)
        if not captions and self._require_description:
            raise UnusableError(DropReason.NO_DESCRIPTION, f"picture {entry.record_id} has no caption with words")
        file_name = str(image.get("file_name", ""))
        data = read_picture(path_inside(self._images, file_name), self._limits)
        loaded = load_image(data, PurePosixPath(file_name).name, self._limits)
        objects, drops, notices = self._objects(handle.image, image, loaded)
        kinds = (*loaded.notices, *notices)
        provenance = Provenance(
            uri=str(image.get("flickr_url") or image.get("coco_url") or file_name),
            license=self._index.licenses.get(image.get("license"), self._default_license),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        records = [
            Record(entry.record_id, str(image["id"]), loaded.encoded, text, provenance, objects)
            for text in self._chosen(captions)
        ]
        record = self._best_aligned(records) if self._best_aligned and len(records) > 1 else records[0]
        return Reading(record, loaded.pixels, drops, tuple(Notice(entry.record_id, kind) for kind in kinds))

    def _captions_of(self, handle: _Handle) -> list[str]:
        places = [handle.caption] if handle.caption else self._index.captions.of(handle.image)
        texts = (str(self._index.caption(start, length).get("caption") or "").strip() for _, start, length in places)
        return [text for text in texts if text]

    def _chosen(self, captions: list[str]) -> Sequence[str | None]:
        if not captions:
            return [None]
        if self._caption == "longest":
            return [max(captions, key=len)]
        return captions if self._caption == "best-aligned" else captions[:1]

    def _objects(
        self, number: int, image: Mapping[str, Any], loaded: LoadedImage
    ) -> tuple[tuple[KeyObject, ...], tuple[Drop, ...], tuple[NoticeKind, ...]]:
        places = self._index.instances.of(number)
        if not places:
            return (), (), ()
        frame_hw = (image.get("height", loaded.raw_size_hw[0]), image.get("width", loaded.raw_size_hw[1]))
        turn = _mask_turn(frame_hw, loaded)
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
                    category=self._index.categories.get(annotation.get("category_id")),
                    is_crowd=bool(annotation.get("iscrowd")),
                    source_bbox=_box(annotation.get("bbox")) if turn == 1 else None,
                )
            )
        both_frames_fit = turn != 1 and frame_hw == loaded.encoded.size_hw
        return tuple(objects), tuple(drops), (NoticeKind.MASK_FRAME_ASSUMED_RAW,) if both_frames_fit else ()


def _most_objects_named(records: Sequence[Record], annotator: Annotator) -> Record:
    """Choose the record whose description names most objects; the earlier one of equals."""
    return max(records, key=lambda record: len(annotator.annotate(record).key_objects))


def _mask_turn(frame_hw: tuple[Any, Any], loaded: LoadedImage) -> int:
    """Tell by which EXIF orientation masks drawn on a picture of ``frame_hw`` must be turned."""
    if frame_hw == loaded.raw_size_hw:
        return loaded.orientation
    if frame_hw == loaded.encoded.size_hw:
        return 1
    height, width = loaded.encoded.size_hw
    raise UnusableError(
        DropReason.SIZE_MISMATCH,
        f"masks are for {frame_hw[1]}x{frame_hw[0]} px, the picture {loaded.encoded.name} has {width}x{height} px",
    )


def _box(value: object) -> tuple[float, float, float, float] | None:
    if isinstance(value, list) and len(value) == 4 and all(isinstance(number, int | float) for number in value):
        return float(value[0]), float(value[1]), float(value[2]), float(value[3])
    return None


class _Index:
    """Where everything stands in the two files: ids and places, no pixels and no polygons."""

    def __init__(self, instances: Path | None, captions: Path | None) -> None:
        self.image_ids = array("q")
        self.instances = Postings()
        self.captions = Postings()
        self.categories: dict[Any, str] = {}
        self.licenses: dict[Any, str] = {}
        self.strays: list[tuple[str, str]] = []
        self.files: list[JsonFile] = []
        self._images: list[tuple[int, int, int]] = []
        self._numbers: dict[int, int] = {}
        self._instances_file = self._open(instances)
        self._captions_file = self._open(captions)
        waiting = [(postings, self._scan(file)) for file, postings in self._files_with_postings()]
        for postings, places in waiting:
            self._assign(places, postings)

    def is_duplicate(self, number: int) -> bool:
        """Whether an earlier picture has the same id."""
        return self._numbers[self.image_ids[number]] != number

    def image(self, number: int) -> dict[str, Any]:
        """Read a picture's entry."""
        file, start, length = self._images[number]
        return self.files[file].element(start, length)

    def instance(self, start: int, length: int) -> dict[str, Any]:
        """Read an instance annotation by its place."""
        return self._instances_file.element(start, length) if self._instances_file else {}

    def caption(self, start: int, length: int) -> dict[str, Any]:
        """Read a caption by its place."""
        return self._captions_file.element(start, length) if self._captions_file else {}

    def _open(self, path: Path | None) -> JsonFile | None:
        if path is None:
            return None
        self.files.append(JsonFile(path))
        return self.files[-1]

    def _files_with_postings(self) -> Iterator[tuple[JsonFile, Postings]]:
        if self._instances_file:
            yield self._instances_file, self.instances
        if self._captions_file:
            yield self._captions_file, self.captions

    def _scan(self, file: JsonFile) -> array[int]:
        """Index one file; give picture id, annotation id, first byte and length of its annotations, flat."""
        file_number = self.files.index(file)
        known = frozenset(self._numbers)
        annotations = array("q")

        def take(key: str, element: Any, start: int, length: int) -> None:
            if key == "images":
                image_id = _whole_number(element, "id", file.path)
                if image_id not in known:
                    self._numbers.setdefault(image_id, len(self.image_ids))
                    self.image_ids.append(image_id)
                    self._images.append((file_number, start, length))
            elif key == "annotations":
                image_id = _whole_number(element, "image_id", file.path)
                annotations.extend((image_id, _whole_number(element, "id", file.path), start, length))
            elif key == "categories":
                self.categories[element.get("id")] = str(element.get("name"))
            elif key == "licenses":
                self.licenses[element.get("id")] = license_identifier(element)

        file.scan(take)
        return annotations

    def _assign(self, annotations: array[int], postings: Postings) -> None:
        for at in range(0, len(annotations), 4):
            image_id, annotation_id, start, length = annotations[at : at + 4]
            if image_id in self._numbers:
                postings.add(self._numbers[image_id], annotation_id, start, length)
            else:
                self.strays.append((str(annotation_id), str(image_id)))
        postings.group(len(self.image_ids))


def _whole_number(element: Any, key: str, path: Path) -> int:
    value = element.get(key) if isinstance(element, Mapping) else None
    if not isinstance(value, int):
        raise SourceError(f"{path}: an element's {key} is {value!r}; COCO needs a whole number there")
    return value
