"""The record: one image, the masks of its objects, its description, and the links between them.

Owns the central types. They are immutable and validated at construction, so that every existing record is valid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum

from datasetkit.core.errors import RecordError
from datasetkit.core.mask import Box, Mask


class PhraseStatus(StrEnum):
    """Outcome of linking a phrase to objects."""

    MATCHED = "matched"
    AMBIGUOUS = "ambiguous"
    ABSENT = "absent"
    NOT_AN_OBJECT = "not_an_object"


class ObjectStatus(StrEnum):
    """Whether the description names an object, may name it, or does not."""

    MENTIONED = "mentioned"
    CANDIDATE = "candidate"
    UNMENTIONED = "unmentioned"


class PhraseKind(StrEnum):
    """Kind of a phrase."""

    NOUN = "noun"
    PRONOUN = "pronoun"


class Maker(StrEnum):
    """Origin of a box or a mask."""

    HUMAN = "human"
    MODEL = "model"
    REVIEWED = "reviewed"


class Linker(StrEnum):
    """Origin of the links of a phrase: a person, words only, an image-text comparison, or a detector."""

    HUMAN = "human"
    WORDS = "words"
    IMAGE = "image"
    MODEL = "model"
    REVIEWED = "reviewed"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RecordError(message)


def _require_unit(name: str, value: float | None) -> None:
    if value is not None and not 0.0 <= value <= 1.0:  # NaN fails this, too
        raise RecordError(f"{name} is {value}; give a number in [0, 1], or None if not measured")


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image as the bytes of an image file, upright.

    Args:
        data: the encoded file (JPEG, PNG, ...).
        name: file name with extension. Folders are included only if ``source.uri`` of the record is a URI, which does
            not contain them.
        width: px, upright.
        height: px, upright.

    """

    data: bytes = field(repr=False)
    name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        _require(bool(self.data), f"image {self.name!r} has no bytes")
        _require(
            "\\" not in self.name and {"", ".", ".."}.isdisjoint(self.name.split("/")),
            f"image name {self.name!r} must be a file name, or a relative path with / between its parts",
        )
        _require(self.width > 0 and self.height > 0, f"image of {self.width}x{self.height} px; sides must be positive")

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of the models that found an object, each in [0, 1]; None if not measured.

    Args:
        detection: the detector's confidence in the box.
        predicted_iou: the segmenter's estimate of the IoU of its mask.
        stability: IoU of the masks at a higher and at a lower threshold.
        similarity: image-text similarity of the crop and its phrase.
        cleaning_iou: IoU of the mask before and after cleaning.

    """

    detection: float | None = None
    predicted_iou: float | None = None
    stability: float | None = None
    similarity: float | None = None
    cleaning_iou: float | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            _require_unit(f"score {item.name}", getattr(self, item.name))


@dataclass(frozen=True, slots=True)
class ObjectProvenance:
    """Origin of the box and of the mask of an object; None if unknown, or if there is none."""

    box: Maker | None = None
    mask: Maker | None = None


@dataclass(frozen=True, slots=True)
class KeyObject:
    """One object of an image.

    Args:
        id: number of the object in its record, unique there.
        mask: mask on the upright image; None for a known instance without a usable mask, which counts in the alignment
            of phrases but is never a key object.
        category: category, or None if unknown.
        is_key: whether it is a key object of the record (the description mentions it).
        salience: salience in [0, 1]; None if not measured.
        is_crowd: whether the mask covers several things that were not separated.
        status: whether the description names it.
        scores: scores of models.
        source_bbox: bounding box (left, top, width, height) in px from the source, or None.
        box: bounding box (left, top, width, height) in px, inside the image, of an object without a mask, or None if
            unknown. The box of an object with a mask follows from the mask.
        provenance: origin of box and mask.
        source_id: id of the object in its source, or None.

    """

    id: int
    mask: Mask | None
    category: str | None = None
    is_key: bool = False
    salience: float | None = None
    is_crowd: bool = False
    status: ObjectStatus = ObjectStatus.UNMENTIONED
    scores: Scores = Scores()
    source_bbox: Box | None = None
    box: Box | None = None
    provenance: ObjectProvenance = ObjectProvenance()
    source_id: str | None = None

    def __post_init__(self) -> None:
        # Texts are formatted only for errors: objects are created several times per record.
        if not 0 <= self.id < 2**31:
            raise RecordError(f"object id {self.id} must be a non-negative 32-bit number")
        _require(self.category is None or bool(self.category), 'category is ""; give None if it is unknown')
        _require_unit("salience", self.salience)
        if self.is_key and self.status is not ObjectStatus.MENTIONED:
            raise RecordError(
                f"object {self.id} is a key object but {self.status.value}; key objects are mentioned ones"
            )
        if self.is_key and self.mask is None:
            raise RecordError(f"object {self.id} is a key object, but has no mask")
        if self.mask is not None and self.box is not None:
            raise RecordError(f"object {self.id} has a mask, which has its box; omit box")
        for name, box in (("source_bbox", self.source_bbox), ("box", self.box)):
            if box is not None and not (len(box) == 4 and all(map(math.isfinite, box))):
                raise RecordError(f"{name} {box} must be four finite numbers (left, top, width, height)")

    @property
    def area(self) -> int | None:
        """Number of pixels in the mask; None without a mask."""
        return None if self.mask is None else self.mask.area

    @property
    def box_xywh(self) -> Box | None:
        """Tight bounding box of the mask, or the known box without a mask: left, top, width, height, px."""
        return self.box if self.mask is None else self.mask.box_xywh


@dataclass(frozen=True, slots=True)
class Candidate:
    """One object that an ambiguous phrase may name, with a score in [0, 1]; None if not measured."""

    object_id: int
    score: float | None

    def __post_init__(self) -> None:
        _require_unit("candidate score", self.score)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase of the description and the objects that it names.

    Args:
        text: the words, verbatim.
        start: index of the first character in the description (code points).
        end: index after the last character.
        object_ids: the objects that it names; several for "two cats", none if none was found.
        candidates: for an ambiguous phrase, the objects that it may name, best first.
        score: confidence of the match in [0, 1]; None if not measured.
        status: outcome of the linking.
        reason: constant that explains the status; None if there is nothing to explain.
        provenance: origin of the links; None if unknown.
        kind: noun phrase or pronoun.

    """

    text: str
    start: int
    end: int
    object_ids: tuple[int, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    score: float | None = None
    status: PhraseStatus = PhraseStatus.ABSENT
    reason: str | None = None
    provenance: Linker | None = None
    kind: PhraseKind = PhraseKind.NOUN

    def __post_init__(self) -> None:
        _require(
            0 <= self.start < self.end and len(self.text) == self.end - self.start,
            f"phrase {self.text!r} has {len(self.text)} characters but span [{self.start}, {self.end})",
        )
        _require(len(set(self.object_ids)) == len(self.object_ids), f"phrase {self.text!r} names an object twice")
        _require(
            bool(self.object_ids) == (self.status is PhraseStatus.MATCHED),
            f"phrase {self.text!r} is {self.status.value}, names {self.object_ids}; only a matched one names objects",
        )
        _require(
            bool(self.candidates) <= (self.status is PhraseStatus.AMBIGUOUS),
            f"phrase {self.text!r} is {self.status.value} but has candidates; only an ambiguous one has them",
        )
        _require_unit("phrase score", self.score)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about the image with its answer.

    Args:
        question: text of the question.
        answer: text of the correct answer.
        type: kind of question (existence, colour, ...).
        options: allowed answers of a closed question; empty for an open one.
        object_ids: the objects that the answer depends on.

    """

    question: str
    answer: str
    type: str
    options: tuple[str, ...] = ()
    object_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require(bool(self.question and self.answer), "a question needs a text and an answer")
        _require(
            not self.options or self.answer in self.options,
            f"answer {self.answer!r} is not one of the options {self.options}",
        )


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of an image.

    Args:
        uri: URI, or path relative to the source's folder; never an absolute path of the building machine.
        license: license identifier of the Hub, or name of the license; "unknown" if not stated.
        sha256: hex digest of the original bytes, before any change.

    """

    uri: str
    license: str
    sha256: str

    def __post_init__(self) -> None:
        _require(bool(self.license), 'license is ""; give "unknown" if the source states none')
        _require(
            len(self.sha256) == 64 and set(self.sha256) <= set("0123456789abcdef"),
            f"sha256 {self.sha256!r} must be 64 hexadecimal digits",
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One image with its description, objects, phrases and questions: the unit that flows through everything.

    Args:
        record_id: unique in the dataset; ``image_id/caption_id`` for one of several descriptions of an image.
        image_id: id of the image in its source.
        image: the image.
        description: the text, or None if there is none (yet).
        objects: all known objects, mentioned or not.
        phrases: the description's noun phrases in order of their start.
        questions: questions about the image.
        source: where the image came from.
        absent_categories: categories known to be absent from the image.
        partial_categories: categories of which only some instances in the image are among the objects.
        language: language of the description, as a BCP 47 tag ("en"); None if not stated.

    Raises:
        RecordError: a mask and the image differ in size, a box is outside the image, an object id is repeated, a span
            does not match its text, or an id belongs to no object.

    """

    record_id: str
    image_id: str
    image: EncodedImage
    description: str | None
    source: Provenance
    objects: tuple[KeyObject, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    questions: tuple[Question, ...] = ()
    absent_categories: tuple[str, ...] = ()
    partial_categories: tuple[str, ...] = ()
    language: str | None = None

    def __post_init__(self) -> None:
        _require(bool(self.record_id and self.image_id), "record_id and image_id must not be empty")
        _require(self.description is None or bool(self.description), 'description is ""; give None if there is none')
        ids = {item.id for item in self.objects}
        _require(len(ids) == len(self.objects), f"record {self.record_id}: an object id is used twice")
        size_hw = self.image.size_hw
        for item in self.objects:
            if item.mask is not None and item.mask.size_hw != size_hw:
                raise RecordError(
                    f"record {self.record_id}: object {item.id} has a mask of {item.mask.size_hw} on an image of "
                    f"{size_hw} (height, width)"
                )
            if item.box is not None and item.box != box_inside(item.box, size_hw):
                raise RecordError(
                    f"record {self.record_id}: object {item.id} has a box {item.box} (left, top, width, height) that "
                    f"leaves the image of {self.image.width}x{self.image.height} px"
                )
        for phrase in self.phrases:
            _require(
                (self.description or "")[phrase.start : phrase.end] == phrase.text,
                f"record {self.record_id}: description[{phrase.start}:{phrase.end}] is not {phrase.text!r}",
            )
            named = {*phrase.object_ids, *(candidate.object_id for candidate in phrase.candidates)}
            _require(named <= ids, f"record {self.record_id}: phrase {phrase.text!r} names objects {named - ids}")
        for question in self.questions:
            _require(
                set(question.object_ids) <= ids,
                f"record {self.record_id}: question {question.question!r} names an unknown object",
            )

    @property
    def key_objects(self) -> tuple[KeyObject, ...]:
        """The key objects, which the description mentions."""
        return tuple(item for item in self.objects if item.is_key)


def box_inside(box_xywh: Box, size_hw: tuple[int, int]) -> Box | None:
    """Clip a box to its image.

    Args:
        box_xywh: left, top, width, height, px; may exceed the image.
        size_hw: height and width of the image, px.

    Returns:
        the part of the box inside the image; None if there is none, or a side is not positive.

    """
    height, width = size_hw
    left, top = max(box_xywh[0], 0.0), max(box_xywh[1], 0.0)
    right, bottom = min(box_xywh[0] + box_xywh[2], float(width)), min(box_xywh[1] + box_xywh[3], float(height))
    if not (left < right and top < bottom):
        return None
    # A side that is not clipped is kept exactly: adding and subtracting would change its last digits.
    whole_width = (left, right) == (box_xywh[0], box_xywh[0] + box_xywh[2])
    whole_height = (top, bottom) == (box_xywh[1], box_xywh[1] + box_xywh[3])
    return left, top, box_xywh[2] if whole_width else right - left, box_xywh[3] if whole_height else bottom - top
