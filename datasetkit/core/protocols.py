"""What the exchangeable parts promise: sources, phrase finders, models, annotators.

Owns the seams between the packages, with numpy and PIL at the border and torch inside; implementations are in
``datasetkit.sources`` and ``datasetkit.annotation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from datasetkit.core.detections import Caption, Detections, FloatArray, Grounding, ModelIdentity, Query, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import Drop, Notice, PassedOver
from datasetkit.core.limits import ImageLimits
from datasetkit.core.paths import Place
from datasetkit.core.record import KeyObject, Record


@dataclass(frozen=True, slots=True)
class Entry:
    """One record that a source announces, before its image is opened: cheap, small, in a fixed order.

    Args:
        record_id: the record's id to be.
        annotation_ids: of the annotations that belong to it, for the account of what was read.
        split: the split that the source itself puts it in, or None.
        handle: whatever the source needs to read it.

    """

    record_id: str
    annotation_ids: tuple[str, ...]
    split: str | None
    handle: Any


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading one entry.

    Args:
        record: the record.
        pixels: its decoded image, mode RGB, upright, so that no later step decodes it again.
        drops: the annotations and detections that were left out.
        notices: what was done to the image and to its record.
        detections: how many boxes models found in the image, those left out among them.
        is_annotated: whether the record comes from a built dataset, so that its phrases and key objects stay.
        is_edited: whether its phrases were changed since, so that status, salience and key flags of its objects are
            computed anew from them.
        hashes: SHA-256 of the files that were read whole, by the names that the source's ``inputs`` has for them; other
            files are read again to hash them.

    """

    record: Record
    pixels: Image.Image
    drops: tuple[Drop, ...] = ()
    notices: tuple[Notice, ...] = ()
    detections: int = 0
    is_annotated: bool = False
    is_edited: bool = False
    hashes: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Images with whatever is known of them.

    Iterating twice gives the same entries in the same order. ``read`` may be called from several threads at once.
    """

    def fingerprint(self) -> str:
        """Hex digest of the source's index; a build resumes only where it is unchanged."""
        ...

    def __len__(self) -> int:
        """How many entries there are."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Announce every record, without opening images."""
        ...

    def read(self, entry: Entry) -> Reading:
        """Open one entry's image and make its record; annotations that cannot be used become drops.

        Raises:
            UnusableError: the record as a whole cannot be used.

        """
        ...

    def inputs(self, entry: Entry) -> Mapping[str, Place]:  # noqa: ARG002 - for sources that read files
        """Name the files that an entry's record is made of; a changed one is noticed. None, if not overridden."""
        return {}

    def index_files(self) -> Mapping[str, Place]:
        """Name the files that all records depend on, such as annotations. None, if not overridden."""
        return {}

    def stray_drops(self) -> Iterator[Drop]:
        """Annotations that belong to no entry, each already a drop; none where a source does not say otherwise."""
        return iter(())

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield what the source has but does not read, each kind once; nothing where it does not say otherwise."""
        return iter(())

    def label_map(self) -> LabelMap:
        """Return the categories as the source has them; none where it has no such list."""
        return ()


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source is told beside its own options.

    Args:
        limits: of images.
        license: of images for which the source names none.
        aligner: tells which of several descriptions names most objects.
        wanted: how many entries are read at most; None reads all.

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
        number: how many things it names: an exact count (0 for "no cars"), or None where the text does not say.
        plural: whether it names more than one.
        definite: whether it may speak of something named before ("the cat"), rather than something new ("a cat").
        other: whether it names something beside what was named before ("another man").
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
    """Finds a text's noun phrases."""

    def find(self, text: str) -> Sequence[NounPhrase]:
        """Give the noun phrases in order of their start; they do not overlap."""
        ...


@dataclass(frozen=True, slots=True)
class Naming:
    """Which objects a text names.

    Args:
        present: phrases, verbatim, that name at least one object of the image.
        absent: phrases, verbatim, that name something of a known category that the image does not have.
        object_ids: ids of the image's objects that are named.

    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    object_ids: frozenset[int]


class ObjectNamer(Protocol):
    """Tells which of an image's objects a text names, such as one that a model wrote about it."""

    def name(self, text: str, objects: Sequence[KeyObject]) -> Naming:
        """Hold a text's phrases against the objects of an image.

        Args:
            text: the text; it need not be true of the image, nor have any phrase.
            objects: all objects of the image.

        """
        ...


class Aligner(Protocol):
    """Aligns a description with objects that are known, from words alone."""

    def align(self, record: Record) -> Record:
        """Add to a record; the image, the description and the source stay as they are."""
        ...


class Annotator(Protocol):
    """Annotates images by models: takes several readings at once."""

    def annotate(self, readings: Sequence[Reading]) -> list[Reading | Drop]:
        """Add to each record; the image and the source stay as they are.

        Returns:
            in the order of ``readings``: the fuller reading, or a drop of scope ``record`` where that one image
            cannot be annotated.

        """
        ...


class Filter(Protocol):
    """Decides which records stay."""

    def refusal(self, record: Record) -> str | None:
        """Return why a finished record is dropped, in a few words; None for one that stays.

        It is called from several threads at once.
        """
        ...


class Model(Protocol):
    """Whatever has weights."""

    @property
    def identities(self) -> tuple[ModelIdentity, ...]:
        """The weights in use; empty where there are none."""
        ...


class Captioner(Model, Protocol):
    """Describes images."""

    def caption(self, images: Sequence[Image.Image]) -> list[Caption]:
        """Describe each image (mode RGB, upright)."""
        ...


class Detector(Model, Protocol):
    """Finds the phrases of a query in an image."""

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        """Look for each image's (mode RGB, upright) own query; queries without spans give no boxes.

        Boxes come in order of their best scores, the best first. An error stands in the place of an image for which
        the model's answer is of no use.
        """
        ...


class Segmenter(Model, Protocol):
    """Cuts out what is in a box."""

    def segment(
        self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]
    ) -> list[list[Segment] | UnusableError]:
        """Give one segment for each box of each image (mode RGB, upright).

        An error stands in the place of an image that cannot be segmented.

        Args:
            images: each is encoded once, however many boxes it has; one without boxes is not encoded.
            boxes_xyxy: for each image its boxes, shape (N, 4), px; N may be 0.

        """
        ...


class Grounder(Model, Protocol):
    """Finds a query's phrases in an image and cuts them out: a detector and a segmenter, or one model for both."""

    def ground(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Grounding | UnusableError]:
        """Look for each image's own query; an error stands in the place of an image that cannot be grounded."""
        ...


class CropScorer(Model, Protocol):
    """Says how much a crop of an image looks like a phrase."""

    def score(self, crops: Sequence[Image.Image], phrases: Sequence[str]) -> FloatArray:
        """Give the similarity of each crop to its own phrase, shape (N,), range [0, 1]."""
        ...
