"""Protocols of the exchangeable parts: sources, phrase finders, models, annotators.

Owns the interfaces between the packages, with numpy and PIL at the border and torch inside; implementations are in
``datasetkit.sources`` and ``datasetkit.annotation``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from PIL import Image

from datasetkit.core.detections import Caption, Detections, FloatArray, Grounding, ModelIdentity, Query, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import Drop, Notice, PassedOver
from datasetkit.core.limits import ImageLimits
from datasetkit.core.paths import Place
from datasetkit.core.record import KeyObject, Record

NO_SYNONYMS: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that a source announces before its image is opened: cheap, small, in a fixed order.

    Args:
        record_id: id of the future record.
        annotation_ids: ids of its annotations, for the count of what was read.
        split: split in the source, or None.
        handle: whatever the source needs to read the record.

    """

    record_id: str
    annotation_ids: tuple[str, ...]
    split: str | None
    handle: Any


@dataclass(frozen=True, slots=True)
class Reading:
    """Result of reading one entry.

    Args:
        record: the record.
        pixels: the decoded upright image, mode RGB, so that no later step decodes it again.
        drops: dropped annotations and detections.
        notices: what was done to the image and to the record.
        detections: number of boxes that models found in the image, dropped ones included.
        is_annotated: whether the record comes from a built dataset, so that its phrases and key objects are kept.
        is_edited: whether its phrases were changed since then, so that status, salience and key flags of its objects
            are recomputed from them.
        has_given_links: whether phrases and their links come from a data set, so that they are kept, and other phrases
            of the description are added without links.
        synonyms: other words for categories, by category, with which descriptions are aligned.
        is_searched: whether somebody looked for objects, so that an image without objects has none.
        hashes: SHA-256 of the files that were read completely, by their names in ``inputs`` of the source; other files
            are read again to hash them.

    """

    record: Record
    pixels: Image.Image
    drops: tuple[Drop, ...] = ()
    notices: tuple[Notice, ...] = ()
    detections: int = 0
    is_annotated: bool = False
    is_edited: bool = False
    has_given_links: bool = False
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_searched: bool = False
    hashes: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Images with whatever is known about them.

    Iterating twice yields the same entries in the same order. ``read`` may be called from several threads at once.
    """

    def fingerprint(self) -> str:
        """Hex digest of the source's index; a build resumes only if it is unchanged."""
        ...

    def __len__(self) -> int:
        """Return the number of entries."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield all entries, without opening images."""
        ...

    def read(self, entry: Entry) -> Reading:
        """Read the image and the record of an entry; unusable annotations become drops.

        Raises:
            UnusableError: the record as a whole is unusable.

        """
        ...

    def inputs(self, entry: Entry) -> Mapping[str, Place]:  # noqa: ARG002 - for sources that read files
        """Return the files that an entry is read from, so that changes are noticed; none unless overridden."""
        return {}

    def index_files(self) -> Mapping[str, Place]:
        """Return the files that all records depend on, such as annotations; none unless overridden."""
        return {}

    def stray_drops(self) -> Iterator[Drop]:
        """Drops of the annotations that belong to no entry; none unless overridden."""
        return iter(())

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield what the source has but does not read, each kind once; nothing unless overridden."""
        return iter(())

    def label_map(self) -> LabelMap:
        """Return the categories of the source, unchanged; none if it has no such list."""
        return ()


@dataclass(frozen=True, slots=True)
class SourceContext:
    """Context of a source, in addition to its options.

    Args:
        limits: limits of images.
        license: license of images for which the source names none.
        aligner: finds which of several descriptions names most objects.
        wanted: largest number of entries to read; None for all.

    """

    limits: ImageLimits = ImageLimits()
    license: str | None = None
    aligner: Aligner | None = None
    wanted: int | None = None


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun phrase with the words that decide what it names.

    Args:
        start: index of its first character in the text (code points).
        end: index after its last character.
        head: the head noun as the text has it ("fire hydrant" for "a red fire hydrant").
        head_start: index of the head's first character.
        number: the number of objects it names: an exact count (0 for "no cars"), or None if the text does not state it.
        plural: whether it names more than one.
        definite: whether it may refer to something named before ("the cat"), rather than something new ("a cat").
        other: whether it names something in addition to what was named before ("another man").
        is_object: whether it can name something in an image; "the top", "a view" cannot.

    """

    start: int
    end: int
    head: str
    head_start: int
    number: int | None
    plural: bool
    definite: bool
    other: bool
    is_object: bool


class PhraseFinder(Protocol):
    """Finds the noun phrases of a text."""

    def find(self, text: str) -> Sequence[NounPhrase]:
        """Return the noun phrases in order of their start, without overlaps."""
        ...


@dataclass(frozen=True, slots=True)
class Naming:
    """The objects that a text names.

    Args:
        present: phrases, verbatim, that name at least one object of the image.
        absent: phrases, verbatim, that name an object of a known category that is not in the image.
        object_ids: ids of the named objects of the image.

    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    object_ids: frozenset[int]


class ObjectNamer(Protocol):
    """Finds the objects of an image that a text names, such as a text that a model wrote about it."""

    def name(self, text: str, objects: Sequence[KeyObject]) -> Naming:
        """Compare the phrases of a text with the objects of an image.

        Args:
            text: the text; it may be wrong about the image, and without phrases.
            objects: all objects of the image.

        """
        ...


class Aligner(Protocol):
    """Aligns a description with known objects, by words only."""

    def align(
        self, record: Record, synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS, *, is_searched: bool = False
    ) -> Record:
        """Return the record with phrases and links; image, description and source are unchanged.

        Args:
            record: the record.
            synonyms: other words for its categories, by category.
            is_searched: whether somebody looked for objects in this image.

        """
        ...

    def complete(
        self, record: Record, synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS, *, is_searched: bool = False
    ) -> Record:
        """Return the record with its phrases as they are, and with the other phrases of its description.

        Args:
            record: the record.
            synonyms: as in :meth:`align`.
            is_searched: as in :meth:`align`.

        """
        ...


class PartAware(Protocol):
    """A model that remembers something from image to image, such as the batches that fit into memory.

    Parts of a build are built in any order and on any machine, so what is remembered must not reach the next part.
    Models without memory need no such method.
    """

    def begin_part(self) -> None:
        """Forget what was learned from images of other parts; called before the first image of each part."""
        ...


class Filter(Protocol):
    """Decides which records are kept."""

    def refusal(self, record: Record) -> str | None:
        """Return why a finished record is dropped, in a few words; None to keep it.

        It is called from several threads at once.
        """
        ...


class Model(Protocol):
    """A part with model weights."""

    @property
    def identities(self) -> tuple[ModelIdentity, ...]:
        """The weights in use; may be empty."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a model needs of one image, computed on a CPU.

    Args:
        key: images with equal keys go through the model together; mostly their size after preprocessing.
        value: anything that can be pickled; arrays should be numpy's.

    """

    key: Hashable
    value: Any


class Preparer(Protocol):
    """The part of a model's work on one image that needs no weights and no device.

    It can be pickled: each process that prepares images has a copy of it.
    """

    def __call__(self, image: Image.Image, *asked: Any) -> Prepared:
        """Prepare an image (mode RGB, upright), with whatever else the model is called with for it.

        Raises:
            UnusableError: the image cannot be used.

        """
        ...


class PreparedModel(Protocol):
    """What a captioner, detector, segmenter or grounder has so that images are prepared while its device works.

    Without it, the whole call of the model runs in the thread of the device. With it, the call is
    ``forward([preparer(image, ...) for image, ...], images, ...)``.
    """

    @property
    def preparer(self) -> Preparer:
        """The part of the work that runs in other processes."""
        ...

    def forward(self, prepared: Sequence[Any], images: Sequence[Image.Image], *asked: Sequence[Any]) -> list[Any]:
        """Run the model on images; the result and further arguments are those of the whole call.

        Args:
            prepared: what was prepared of each image, ``Prepared.value``; in a build, all of one key.
            images: the images.
            asked: further arguments of the call, one for each image.

        """
        ...


class Captioner(Model, Protocol):
    """Describes images.

    One that asks another machine may have an attribute ``requests``: from how many threads at once it is called, with
    one image each.
    """

    def caption(self, images: Sequence[Image.Image]) -> list[Caption]:
        """Describe each image (mode RGB, upright)."""
        ...


class Detector(Model, Protocol):
    """Finds the phrases of a query in an image."""

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Detect the phrases of one query per image (mode RGB, upright); queries without spans yield no boxes.

        Boxes are sorted by their best scores, the best first. The list contains an error for an image for which the
        output of the model is unusable.
        """
        ...


class Segmenter(Model, Protocol):
    """Segments the object in a box."""

    def segment(
        self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]
    ) -> list[list[Segment] | UnusableError]:
        """Return one segment per box of each image (mode RGB, upright).

        The list contains an error for an image that cannot be segmented.

        Args:
            images: each image is encoded once, whatever its number of boxes, and not at all without boxes.
            boxes_xyxy: boxes of each image, shape (N, 4), px; N may be 0.

        """
        ...


class Grounder(Model, Protocol):
    """Finds and segments the phrases of a query in an image: a detector and a segmenter, or one model for both."""

    def ground(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Grounding | UnusableError]:
        """Ground one query per image; the list contains an error for an image that cannot be grounded."""
        ...


class CropScorer(Model, Protocol):
    """Measures the similarity of an image crop and a phrase."""

    def score(self, crops: Sequence[Image.Image], phrases: Sequence[str]) -> FloatArray:
        """Return the similarity of each crop to its phrase, shape (N,), range [0, 1]."""
        ...
