"""What models find in an image: captions, boxes, masks and their scores, with the weights that found them.

Owns the values that go into and come out of models. All boxes and masks are in pixels of the upright image that was
given, whatever the model resized, padded or cropped it to.
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
    """Which weights made something, for manifest and card.

    Args:
        role: what the model does ("detector").
        id: Hub id, name of a shipped model, or the name of a local folder or file, never its path.
        revision: commit on the Hub, or None where the weights are local.
        sha256: hex digest of local weights, or None where a commit says it all.

    """

    role: str
    id: str
    revision: str | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """What a detector is asked about one image: a text, and which of its characters are the phrases.

    The text is a caption with phrases in it, or a list of phrases made by :meth:`of_phrases`.

    Args:
        text: the prompt.
        spans: [start, end) of each phrase in code points; rising, not overlapping, none of them blank.

    Raises:
        RecordError: a span is not of that form.

    """

    text: str
    spans: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        for start, end in self.spans:
            if not 0 <= start < end <= len(self.text) or not self.text[start:end].strip():
                raise RecordError(f"span [{start}, {end}) is no phrase of a text of {len(self.text)} characters")
        for (_, end), (start, _) in pairwise(self.spans):
            if start < end:
                raise RecordError(f"spans must rise and not overlap; one ends at {end}, the next starts at {start}")

    @classmethod
    def of_phrases(cls, phrases: Sequence[str]) -> Query:
        """Join phrases, each with a full stop after it: ``"a cat . two dogs ."``."""
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
    """Boxes found in one image, each with a score for every phrase of the query.

    Args:
        boxes_xyxy: left, top, right, bottom; shape (N, 4), px, ordered, inside the image, none empty.
        scores: shape (N, P), range [0, 1].
        notices: what happened to the query.

    Raises:
        RecordError: the arrays are not of that form. How far the image goes to the right and down is not known here.

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
    """What a segmenter made of one box.

    Args:
        mask: the pixels, or None where there are none.
        predicted_iou: the model's own estimate of the mask's IoU, range [0, 1]; None where it gives none.
        stability: IoU of the mask cut at a higher and at a lower threshold, range [0, 1]; None likewise.

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
    """A box with its mask and what models said of it.

    Args:
        number: its place among the image's detections, for the ledger.
        box_xyxy: left, top, right, bottom, px.
        phrase_scores: of each phrase of the query, range [0, 1].
        mask: its pixels.
        predicted_iou: as in :class:`Segment`.
        stability: as in :class:`Segment`.
        cleaning_iou: IoU of the mask before and after cleaning; None where it was not cleaned.
        similarity: image-text similarity of the crop and its best phrase, range [0, 1]; None where not measured.
        is_group: whether the mask takes in several things that were not told apart.

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
        """The best of its phrases' scores, which is the detector's confidence in it."""
        return max(self.phrase_scores, default=0.0)

    @property
    def best_phrase(self) -> int:
        """Index of the phrase with that score, the first of equals."""
        return self.phrase_scores.index(self.score)


@dataclass(frozen=True, slots=True)
class Removal:
    """A detection that was left out: its number, the constant reason, and what was measured."""

    number: int
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class Grounding:
    """What was found of one query in one image; regions and removals together are all detections.

    Args:
        regions: what stays, in order of their numbers.
        removals: what does not.
        notices: what happened to the query.

    Raises:
        RecordError: regions are not in order, a number comes twice, or regions have different numbers of scores.

    """

    regions: tuple[Region, ...]
    removals: tuple[Removal, ...] = ()
    notices: tuple[NoticeKind, ...] = ()

    def __post_init__(self) -> None:
        numbers = [region.number for region in self.regions]
        if any(first >= second for first, second in pairwise(numbers)):
            raise RecordError(f"regions must be in order of their numbers, each once; they are {numbers}")
        every = [*numbers, *(removal.number for removal in self.removals)]
        if len(set(every)) < len(every):
            raise RecordError(f"each detection is kept or left out, once; the numbers are {sorted(every)}")
        if len({len(region.phrase_scores) for region in self.regions}) > 1:
            raise RecordError("regions of one query must have a score for each of its phrases, all as many")


def _check_boxes(boxes_xyxy: FloatArray) -> None:
    """Check shape, dtype and order of boxes; NaN fails every comparison."""
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4 or boxes_xyxy.dtype != np.float64:
        raise RecordError(f"boxes are {boxes_xyxy.dtype} of shape {boxes_xyxy.shape}; they must be float64 of (N, 4)")
    ordered = (boxes_xyxy[:, :2] >= 0).all(axis=1) & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    wrong = boxes_xyxy[~(ordered & np.isfinite(boxes_xyxy).all(axis=1))]
    if len(wrong):
        raise RecordError(f"box {wrong[0].tolist()} is none: 0 <= left < right and 0 <= top < bottom, all finite")


def _check_unit(name: str, values: FloatArray) -> None:
    wrong = values[~((values >= 0) & (values <= 1))]
    if len(wrong):
        raise RecordError(f"{name} hold {wrong[0]}; they must lie in [0, 1]")


def _check_units(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise RecordError(f"{name} is {value}; it must lie in [0, 1], or be None where it was not measured")


@dataclass(frozen=True, slots=True)
class Caption:
    """A description that a model wrote.

    Args:
        text: the words; empty where it wrote none.
        is_cut: whether it had not ended when it had written as much as it may.

    """

    text: str
    is_cut: bool = False
