"""A detector and a segmenter, one after the other. Owns their stages, and how boxes become regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from datasetkit.annotation.tasks import Task, model_stage
from datasetkit.core.detections import Detections, FloatArray, Grounding, Query, Region, Removal, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import Detector, Grounder, Segmenter
from datasetkit.runtime.batches import begin_part
from datasetkit.runtime.stages.kinds import CpuStage, Stage


class BoxesThenMasks:
    """Detects phrases as boxes, and segments what is in them.

    Args:
        detector: finds boxes.
        segmenter: returns their masks.
        detector_batch: images per call of the detector; halved where memory runs out, until the next part begins.
        segmenter_batch: images per call of the segmenter; halved likewise.

    """

    def __init__(self, detector: Detector, segmenter: Segmenter, *, detector_batch: int, segmenter_batch: int) -> None:
        self._detector = detector
        self._segmenter = segmenter
        self._detector_batch = detector_batch
        self._segmenter_batch = segmenter_batch
        self.identities = (*detector.identities, *segmenter.identities)

    def begin_part(self) -> None:
        """Announce a part to the models; see :class:`datasetkit.core.protocols.PartAware`."""
        begin_part(self._detector, self._segmenter)

    def stages(self) -> tuple[Stage[Task], ...]:
        """Return the stages ``detect`` and ``segment``; images without phrases or boxes skip them.

        Masks of segmenters that leave them packed become run lengths in a stage of their own.
        """
        detect = model_stage("detect", self._detector, "detect", self._detector_batch, _query, _with_boxes)
        finisher = getattr(self._segmenter, "finisher", None)
        answer = _with_masks if finisher is None else _with_packed
        segment = model_stage("segment", self._segmenter, "segment", self._segmenter_batch, _boxes, answer)
        if finisher is None:
            return detect, segment
        function = _Finished(finisher)
        return detect, segment, CpuStage(name="masks", ask=_packed, answer=_with_masks, function=function)


class AtOnce:
    """One model that finds and segments phrases.

    Args:
        grounder: the model.
        batch: images per call; halved where memory runs out, until the next part begins.

    """

    def __init__(self, grounder: Grounder, *, batch: int) -> None:
        self._grounder = grounder
        self._batch = batch
        self.identities = grounder.identities

    def begin_part(self) -> None:
        """Announce a part to the model; see :class:`datasetkit.core.protocols.PartAware`."""
        begin_part(self._grounder)

    def stages(self) -> tuple[Stage[Task], ...]:
        """Return the stage ``ground``; images without phrases skip it."""
        return (model_stage("ground", self._grounder, "ground", self._batch, _query, _with_grounding),)


def grounding_of(found: Detections, segments: Sequence[Segment]) -> Grounding:
    """Combine the boxes of an image with their segments."""
    regions: list[Region] = []
    removals: list[Removal] = []
    boxes, scores = found.boxes_xyxy.tolist(), found.scores.tolist()
    for number, (box, phrase_scores, segment) in enumerate(zip(boxes, scores, segments, strict=True)):
        if segment.mask is None:
            removals.append(Removal(number, DropReason.EMPTY_MASK, "the mask has no pixel in the box"))
            continue
        regions.append(
            Region(
                number,
                tuple(box),
                tuple(phrase_scores),
                segment.mask,
                predicted_iou=segment.predicted_iou,
                stability=segment.stability,
            )
        )
    return Grounding(tuple(regions), tuple(removals), found.notices)


def _query(task: Task) -> tuple[Image.Image, Query] | None:
    query = task.asked.query
    return (task.reading.pixels, query) if query.spans else None


def _with_boxes(task: Task, detections: Detections) -> Task:
    return replace(task, detections=detections)


def _boxes(task: Task) -> tuple[Image.Image, FloatArray] | None:
    boxes = task.detections.boxes_xyxy
    return (task.reading.pixels, boxes) if len(boxes) else None


@dataclass(frozen=True, slots=True)
class _Finished:
    """A finisher that raises the error that it returns."""

    finisher: Callable[[Any], Sequence[Segment] | UnusableError]

    def __call__(self, packed: Any) -> Sequence[Segment]:
        segments = self.finisher(packed)
        if isinstance(segments, UnusableError):
            raise segments
        return segments


def _with_packed(task: Task, packed: Any) -> Task:
    return replace(task, packed=packed)


def _packed(task: Task) -> Any:
    return task.packed


def _with_masks(task: Task, segments: Sequence[Segment]) -> Task:
    return replace(task, segments=tuple(segments), packed=None)


def _with_grounding(task: Task, grounding: Grounding) -> Task:
    return replace(task, grounding=grounding)
