"""The record: one image, its objects' masks, its description and how the two belong together.

Owns the central types. They are frozen and check themselves when made: a record that exists is a valid one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum

from datasetkit.core.errors import RecordError
from datasetkit.core.mask import Box, Mask


class PhraseStatus(StrEnum):
    """What was found for a phrase."""

    MATCHED = "matched"
    AMBIGUOUS = "ambiguous"
    ABSENT = "absent"
    NOT_AN_OBJECT = "not_an_object"


class ObjectStatus(StrEnum):
    """How the description speaks of an object: names it, may name it, or does not."""

    MENTIONED = "mentioned"
    CANDIDATE = "candidate"
    UNMENTIONED = "unmentioned"


class PhraseKind(StrEnum):
    """What kind of words a phrase is."""

    NOUN = "noun"
    PRONOUN = "pronoun"


class Maker(StrEnum):
    """Who made a box or a mask."""

    HUMAN = "human"
    MODEL = "model"
    REVIEWED = "reviewed"


class Linker(StrEnum):
    """Who linked a phrase with its objects: a person, the words alone, an image-text comparison, or a detector."""

    HUMAN = "human"
    WORDS = "words"
    IMAGE = "image"
    MODEL = "model"
    REVIEWED = "reviewed"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RecordError(message)


def _require_unit(name: str, value: float | None) -> None:
    _require(
        value is None or (math.isfinite(value) and 0.0 <= value <= 1.0),
        f"{name} is {value}; give a number in [0, 1], or None where it was not measured",
    )


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image as the bytes of an image file, upright.

    Args:
        data: the encoded file (JPEG, PNG, ...).
        name: file name with its ending. It has its folder in front only where the record's ``source.uri`` is an
            address, which does not say it.
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
    """What the models that made an object said of it, each in [0, 1]; None where it was not measured.

    Args:
        detection: the detector's confidence in the box.
        predicted_iou: the segmenter's own estimate of its mask's IoU.
        stability: IoU of the mask cut at a higher and at a lower threshold.
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
    """Who made an object's box and who its mask; None where that is not known, or there is none."""

    box: Maker | None = None
    mask: Maker | None = None


@dataclass(frozen=True, slots=True)
class KeyObject:
    """One object of an image.

    Args:
        id: number of the object in its record, unique there.
        mask: its pixels, on the upright image; None for an instance that is known to be there without a usable mask,
            which counts when phrases are aligned but is never a key object.
        category: what it is, or None where unknown.
        is_key: whether it is one of the record's key objects (the description mentions it).
        salience: how much it stands out, in [0, 1]; None where it was not measured.
        is_crowd: whether the mask covers several things that were not told apart.
        status: how the description speaks of it.
        scores: what the models said.
        source_bbox: the box (left, top, width, height) in px that the source gave, if it gave one.
        box: the box (left, top, width, height) in px, inside the image, of an object without a mask; None where not
            even that is known. A mask has its own.
        provenance: who made box and mask.
        source_id: the object's id in its source, or None.

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
        _require(0 <= self.id < 2**31, f"object id {self.id} must be a 32-bit number, not negative")
        _require(self.category is None or bool(self.category), 'category is ""; give None where it is unknown')
        _require_unit("salience", self.salience)
        _require(
            not self.is_key or self.status is ObjectStatus.MENTIONED,
            f"object {self.id} is a key object but {self.status.value}; key objects are mentioned ones",
        )
        _require(not self.is_key or self.mask is not None, f"object {self.id} is a key object, but has no mask")
        _require(self.mask is None or self.box is None, f"object {self.id} has a mask, whose box is its own; omit box")
        for name, box in (("source_bbox", self.source_bbox), ("box", self.box)):
            _require(
                box is None or (len(box) == 4 and all(map(math.isfinite, box))),
                f"{name} {box} must be four finite numbers (left, top, width, height)",
            )

    @property
    def area(self) -> int | None:
        """Number of pixels in the mask; None without a mask."""
        return None if self.mask is None else self.mask.area

    @property
    def box_xywh(self) -> Box | None:
        """The mask's tight box, or the box that is known without a mask (left, top, width, height), px."""
        return self.box if self.mask is None else self.mask.box_xywh


@dataclass(frozen=True, slots=True)
class Candidate:
    """One object that an ambiguous phrase may name, with a score in [0, 1]; None where it was not measured."""

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
        object_ids: the objects that it names; several for "two cats", none where nothing was found.
        candidates: for an ambiguous phrase, the objects that it may name, best first.
        score: confidence of the match in [0, 1]; None where it was not measured.
        status: what was found.
        reason: a constant that says why, or None where the status says all.
        provenance: who decided what it names; None where that is not known.
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
        question: the question's text.
        answer: the right answer's text.
        type: what kind of question it is (existence, colour, ...).
        options: the allowed answers of a closed question; empty where it is open.
        object_ids: the objects that the answer rests on.

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
            f"answer {self.answer!r} is none of the options {self.options}",
        )


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an image came from.

    Args:
        uri: address, or path relative to the source's folder; never an absolute path of the building machine.
        license: Hub license identifier or the license's name; "unknown" where nobody said.
        sha256: hex digest of the bytes that came, before anything was done to them.

    """

    uri: str
    license: str
    sha256: str

    def __post_init__(self) -> None:
        _require(bool(self.license), 'license is ""; give "unknown" where nobody said')
        _require(
            len(self.sha256) == 64 and set(self.sha256) <= set("0123456789abcdef"),
            f"sha256 {self.sha256!r} must be 64 hexadecimal digits",
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One image with its description, objects, phrases and questions: the unit that flows through everything.

    Args:
        record_id: unique in the dataset; ``image_id/caption_id`` where one image has several descriptions.
        image_id: the image's id in its source.
        image: the image.
        description: the text, or None where there is none (yet).
        objects: every object known, mentioned or not.
        phrases: the description's noun phrases in order of their start.
        questions: questions about the image.
        source: where the image came from.
        absent_categories: categories that were looked for and are not in the image.
        partial_categories: categories of which not every instance in the image is among the objects.
        language: of the description, as a BCP 47 tag ("en"); None where nobody said.

    Raises:
        RecordError: a mask of another size than the image, a box outside it, an object id twice, a span that is not
            its text, or an id that no object has.

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
        _require(self.description is None or bool(self.description), 'description is ""; give None where there is none')
        ids = {item.id for item in self.objects}
        _require(len(ids) == len(self.objects), f"record {self.record_id}: an object id is used twice")
        for item in self.objects:
            _require(
                item.mask is None or item.mask.size_hw == self.image.size_hw,
                f"record {self.record_id}: object {item.id} has a mask of {item.mask and item.mask.size_hw} on an "
                f"image of {self.image.size_hw} (height, width)",
            )
            _require(
                item.box is None or item.box == box_inside(item.box, self.image.size_hw),
                f"record {self.record_id}: object {item.id} has a box {item.box} (left, top, width, height) that "
                f"leaves the image of {self.image.width}x{self.image.height} px",
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
                f"record {self.record_id}: question {question.question!r} names an object that is not there",
            )

    @property
    def key_objects(self) -> tuple[KeyObject, ...]:
        """The objects that the description is about."""
        return tuple(item for item in self.objects if item.is_key)


def box_inside(box_xywh: Box, size_hw: tuple[int, int]) -> Box | None:
    """Cut a box to its image.

    Args:
        box_xywh: left, top, width, height, px; it may leave the image.
        size_hw: of the image, px.

    Returns:
        the part of the box inside the image; None where no part of it is, or a side is not positive.

    """
    height, width = size_hw
    left, top = max(box_xywh[0], 0.0), max(box_xywh[1], 0.0)
    right, bottom = min(box_xywh[0] + box_xywh[2], float(width)), min(box_xywh[1] + box_xywh[3], float(height))
    if not (left < right and top < bottom):
        return None
    # What is not cut stays as it is: the difference of a sum would change its last digits.
    whole_width = (left, right) == (box_xywh[0], box_xywh[0] + box_xywh[2])
    whole_height = (top, bottom) == (box_xywh[1], box_xywh[1] + box_xywh[3])
    return left, top, box_xywh[2] if whole_width else right - left, box_xywh[3] if whole_height else bottom - top
