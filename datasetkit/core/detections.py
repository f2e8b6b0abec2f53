"""Outputs of models for an image: captions, boxes, masks and their scores, and the weights that produced them.

Owns the inputs and outputs of models. All boxes and masks are in pixels of the upright input image, whatever the model
resized, padded or cropped it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.errors import RecordError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.mask import Mask

FloatArray = NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The weights of a model, for manifest and card.

    Args:
        role: task of the model ("detector").
        id: Hub id, name of a shipped model, or the name of a local folder or file, never its path.
        revision: commit on the Hub; None for local weights.
        sha256: hex digest of local weights; None where the commit identifies them.

    """

    role: str
    id: str
    revision: str | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """Prompt of a detector for one image: a text, and the character spans of its phrases.

    The text is a caption that contains phrases, or a list of phrases from :meth:`of_phrases`.

    Args:
        text: the prompt.
        spans: [start, end) of each phrase in code points; ascending, not overlapping, not blank.

    Raises:
        RecordError: a span is not of that form.

    """

    text: str
    spans: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        for start, end in self.spans:
            if not 0 <= start < end <= len(self.text) or not self.text[start:end].strip():
                raise RecordError(f"span [{start}, {end}) is not a phrase of a text of {len(self.text)} characters")
        for (_, end), (start, _) in pairwise(self.spans):
            if start < end:
                raise RecordError(f"spans must ascend and not overlap; one ends at {end}, the next starts at {start}")

    @classmethod
    def of_phrases(cls, phrases: Sequence[str]) -> Query:
        """Return a query that joins phrases by full stops: ``"a cat . two dogs ."``."""
        text, spans = "", []
        for phrase in phrases:
            start = len(text)
            spans.append((start, start + len(phrase)))
            text += f"{phrase} . "
        return cls(text.rstrip(" "), tuple(spans))

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases, verbatim."""
        return tuple(self.text[start:end] for start, end in self.spans)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes found in one image, each with a score per phrase of the query.

    Args:
        boxes_xyxy: left, top, right, bottom; shape (N, 4), px, ordered, inside the image, none empty.
        scores: shape (N, P), range [0, 1].
        notices: what happened to the query.

    Raises:
        RecordError: the arrays are not of that form. The size of the image is not known here, and not checked.

    """

    boxes_xyxy: FloatArray
    scores: FloatArray
    notices: tuple[NoticeKind, ...] = ()

    def __post_init__(self) -> None:
        _check_boxes(self.boxes_xyxy)
        if self.scores.ndim != 2 or len(self.scores) != len(self.boxes_xyxy):
            raise RecordError(f"scores have shape {self.scores.shape}; {len(self.boxes_xyxy)} boxes need (N, P)")
        _check_unit("scores", self.scores)


@dataclass(frozen=True, slots=True)
class Segment:
    """Output of a segmenter for one box.

    Args:
        mask: the mask; None if it is empty.
        predicted_iou: the model's estimate of the mask's IoU, range [0, 1]; None if it has none.
        stability: IoU of the masks at a higher and at a lower threshold, range [0, 1]; None if not available.

    Raises:
        RecordError: a number is out of range.

    """

    mask: Mask | None
    predicted_iou: float | None
    stability: float | None

    def __post_init__(self) -> None:
        _check_units(predicted_iou=self.predicted_iou, stability=self.stability)


@dataclass(frozen=True, slots=True)
class Region:
    """A box with its mask and the scores of models.

    Args:
        number: index among the image's detections, for the ledger.
        box_xyxy: left, top, right, bottom, px.
        phrase_scores: score per phrase of the query, range [0, 1].
        mask: the mask.
        predicted_iou: as in :class:`Segment`.
        stability: as in :class:`Segment`.
        cleaning_iou: IoU of the mask before and after cleaning; None if it was not cleaned.
        similarity: image-text similarity of the crop and its best phrase, range [0, 1]; None if not measured.
        is_group: whether the mask covers several things that were not separated.

    Raises:
        RecordError: the box is empty or begins outside the image, or a number is out of range.

    """

    number: int
    box_xyxy: Box
    phrase_scores: tuple[float, ...]
    mask: Mask
    predicted_iou: float | None = None
    stability: float | None = None
    cleaning_iou: float | None = None
    similarity: float | None = None
    is_group: bool = False

    def __post_init__(self) -> None:
        if self.number < 0:
            raise RecordError(f"number is {self.number}; detections are counted from 0")
        _check_boxes(np.array([self.box_xyxy], dtype=np.float64))
        _check_unit("phrase_scores", np.array(self.phrase_scores, dtype=np.float64))
        _check_units(
            predicted_iou=self.predicted_iou,
            stability=self.stability,
            cleaning_iou=self.cleaning_iou,
            similarity=self.similarity,
        )

    @property
    def score(self) -> float:
        """The highest phrase score, which is the detector's confidence."""
        return max(self.phrase_scores, default=0.0)

    @property
    def best_phrase(self) -> int:
        """Index of the phrase with the highest score; the first one in a tie."""
        return self.phrase_scores.index(self.score)


@dataclass(frozen=True, slots=True)
class Removal:
    """A dropped detection: its number, the constant reason, and what was measured."""

    number: int
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class Grounding:
    """Detections of one query in one image, kept or removed.

    Args:
        regions: kept detections, in order of their numbers.
        removals: dropped detections.
        notices: what happened to the query.

    Raises:
        RecordError: regions are not in order, a number is repeated, or regions have different numbers of scores.

    """

    regions: tuple[Region, ...]
    removals: tuple[Removal, ...] = ()
    notices: tuple[NoticeKind, ...] = ()

    def __post_init__(self) -> None:
        numbers = [region.number for region in self.regions]
        if any(first >= second for first, second in pairwise(numbers)):
            raise RecordError(f"regions must be in order of their numbers, without repeats; the numbers are {numbers}")
        every = [*numbers, *(removal.number for removal in self.removals)]
        if len(set(every)) < len(every):
            raise RecordError(f"each detection must be kept or removed exactly once; the numbers are {sorted(every)}")
        if len({len(region.phrase_scores) for region in self.regions}) > 1:
            raise RecordError("all regions of one query must have one score per phrase")


def _check_boxes(boxes_xyxy: FloatArray) -> None:
    """Check shape, dtype and order of boxes; NaN fails every comparison."""
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4 or boxes_xyxy.dtype != np.float64:
        raise RecordError(f"boxes are {boxes_xyxy.dtype} of shape {boxes_xyxy.shape}; they must be float64 of (N, 4)")
    ordered = (boxes_xyxy[:, :2] >= 0).all(axis=1) & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    wrong = boxes_xyxy[~(ordered & np.isfinite(boxes_xyxy).all(axis=1))]
    if len(wrong):
        raise RecordError(f"box {wrong[0].tolist()} is not valid: 0 <= left < right and 0 <= top < bottom, all finite")


def _check_unit(name: str, values: FloatArray) -> None:
    wrong = values[~((values >= 0) & (values <= 1))]
    if len(wrong):
        raise RecordError(f"{name} contain {wrong[0]}; they must be in [0, 1]")


def _check_units(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise RecordError(f"{name} is {value}; it must be in [0, 1], or None if not measured")


@dataclass(frozen=True, slots=True)
class Caption:
    """A description that a model wrote.

    Args:
        text: the description; may be empty.
        is_cut: whether the model reached its length limit before the end.

    """

    text: str
    is_cut: bool = False
