"""A detector and a segmenter, one after the other. Owns how boxes become regions, image by image."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from datasetkit.core.detections import Detections, FloatArray, Grounding, Query, Region, Removal, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import Detector, Segmenter
from datasetkit.runtime.batches import Batches, begin_part
from datasetkit.runtime.timers import Stages


class BoxesThenMasks:
    """Detects phrases as boxes, and segments what is in them.

    Args:
        detector: finds boxes.
        segmenter: returns their masks.
        detector_batch: images per call of the detector; halved where memory runs out, until the next part begins.
        segmenter_batch: images per call of the segmenter; halved likewise.
        stages: timers; ``detect`` and ``segment`` are counted in images.

    """

    def __init__(
        self, detector: Detector, segmenter: Segmenter, *, detector_batch: int, segmenter_batch: int, stages: Stages
    ) -> None:
        self._detecting: Batches[tuple[Image.Image, Query], Detections] = Batches(
            lambda asked: detector.detect([image for image, _ in asked], [query for _, query in asked]),
            detector_batch,
            "images of the detector",
        )
        self._segmenting: Batches[tuple[Image.Image, FloatArray], list[Segment]] = Batches(
            lambda boxed: segmenter.segment([image for image, _ in boxed], [boxes for _, boxes in boxed]),
            segmenter_batch,
            "images of the segmenter",
        )
        self._models = (detector, segmenter)
        self._stages = stages
        self.identities = (*detector.identities, *segmenter.identities)

    def begin_part(self) -> None:
        """Restore batches; see :class:`datasetkit.core.protocols.PartAware`."""
        begin_part(self._detecting, self._segmenting, *self._models)

    def ground(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Grounding | UnusableError]:
        """Ground each image's query; see :class:`datasetkit.core.protocols.Grounder`."""
        asked = list(zip(images, queries, strict=True))
        # Detectors batch images of one size, so these are placed next to each other.
        order = sorted(range(len(images)), key=lambda index: images[index].size)
        with self._stages.timed("detect", len(images)):
            answers = self._detecting.run([asked[index] for index in order])
        found = [answer for _, answer in sorted(zip(order, answers, strict=True), key=lambda pair: pair[0])]
        failed = {index: item for index, item in enumerate(found) if isinstance(item, UnusableError)}
        detected = {index: item for index, item in enumerate(found) if isinstance(item, Detections)}
        with self._stages.timed("segment", len(detected)):
            segments = self._segmenting.run([(images[index], item.boxes_xyxy) for index, item in detected.items()])
        results: dict[int, Grounding | UnusableError] = {**failed}
        for (index, item), cut in zip(detected.items(), segments, strict=True):
            results[index] = cut if isinstance(cut, UnusableError) else _grounding(item, cut)
        return [results[index] for index in range(len(images))]


def _grounding(found: Detections, segments: Sequence[Segment]) -> Grounding:
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
