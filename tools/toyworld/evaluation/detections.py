"""Evaluation of the detector: recall of prompted phrases, precision and recall of thresholded, de-duplicated boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from datasetkit.annotation.detectors.grounding_dino import GroundingDinoDetector
from datasetkit.core.detections import Detections, Query
from datasetkit.core.errors import UnusableError
from datasetkit.options.models import GroundingDinoOptions
from datasetkit.toyworld.descriptions import absent_phrases
from datasetkit.toyworld.domain import BASE
from datasetkit.toyworld.referring import attributes_of
from datasetkit.toyworld.scenes import Split, stream
from tools.toyworld.evaluation.recipe import EvaluationRecipe, Example, batched

_BATCH = 20
_FIRST_NMS_IOU = 0.7
_THRESHOLDS = tuple(np.round(np.arange(0.1, 0.8, 0.025), 3).tolist())
_NMS_IOUS = (0.5, 0.6, 0.7)
_MATCH_IOU = 0.5


def box_iou(boxes: NDArray, others: NDArray) -> NDArray[np.float64]:
    """Return the intersection over union of boxes (N, 4) and (M, 4), corners in px, shape (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(-1)
    areas, other_areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1), (others[:, 2:] - others[:, :2]).prod(-1)
    return overlap / (areas[:, None] + other_areas[None] - overlap)


def suppress(boxes: NDArray, scores: NDArray, iou_max: float) -> list[int]:
    """Return the indices of boxes, the best first, whose IoU with every better one is at most ``iou_max``."""
    kept: list[int] = []
    overlaps = box_iou(boxes, boxes)
    for index in np.argsort(-scores, kind="stable"):
        if all(overlaps[index, other] <= iou_max for other in kept):
            kept.append(int(index))
    return kept


def match(boxes: NDArray, truth: NDArray, iou_min: float) -> list[int]:
    """Match each box, in order, with the free true box of highest IoU; return the indices of matched true boxes."""
    overlaps = box_iou(boxes, truth)
    found: list[int] = []
    for row in overlaps:
        free = [index for index in range(len(truth)) if index not in found and row[index] >= iou_min]
        if free:
            found.append(max(free, key=lambda index: row[index]))
    return found


@dataclass(frozen=True)
class _Prompt:
    """Phrases and the ids of the objects that each names."""

    phrases: tuple[str, ...]
    object_ids: tuple[tuple[int, ...], ...]


def _prompt(example: Example, absent: int) -> _Prompt:
    """Return one phrase per size, colour and shape in the scene, followed by phrases of absent objects."""
    scene = example.scene
    named = {}
    for item in scene.objects:
        name = attributes_of(item)
        named[BASE.noun_phrase(name, plural=False, determiner="a")] = name.extension(scene)
    for phrase in absent_phrases(scene, BASE, stream(scene.seed, "evaluation/absent"), absent):
        named[phrase.text] = ()
    return _Prompt(tuple(named), tuple(named.values()))


@dataclass
class _Counts:
    """Numbers of objects found, of predicted boxes and of true objects."""

    found: int = 0
    given: int = 0
    there: int = 0

    @property
    def recall(self) -> float:
        return self.found / self.there if self.there else float("nan")

    @property
    def precision(self) -> float:
        return self.found / self.given if self.given else float("nan")

    @property
    def f1(self) -> float:
        return 2 * self.found / (self.given + self.there)


def _recall(results: Iterable[tuple[Example, _Prompt, Detections]], iou_min: float, held_out: bool | None) -> float:
    """Return the share of objects found by the best boxes of each phrase, as many as it has objects."""
    counts = _Counts()
    for example, prompt, detections in results:
        for number, ids in enumerate(prompt.object_ids):
            if held_out is not None and example.scene.objects[ids[0]].is_held_out != held_out:
                continue
            kept = suppress(detections.boxes_xyxy, detections.scores[:, number], _FIRST_NMS_IOU)[: len(ids)]
            counts.found += len(match(detections.boxes_xyxy[kept], example.boxes_xyxy[list(ids)], iou_min))
            counts.there += len(ids)
    return counts.recall


def _thresholded(
    results: Iterable[tuple[Example, _Prompt, Detections]],
    score_min: float,
    nms_iou: float,
    held_out: bool | None = None,
) -> _Counts:
    """Count boxes above the threshold, each under its best phrase, none twice."""
    counts = _Counts()
    for example, prompt, detections in results:
        best, phrase = detections.scores.max(1), detections.scores.argmax(1)
        kept = [index for index in suppress(detections.boxes_xyxy, best, nms_iou) if best[index] >= score_min]
        for number, ids in enumerate(prompt.object_ids):
            if held_out is not None and (not ids or example.scene.objects[ids[0]].is_held_out != held_out):
                continue
            boxes = detections.boxes_xyxy[[index for index in kept if phrase[index] == number]]
            counts.found += len(match(boxes, example.boxes_xyxy[list(ids)], _MATCH_IOU))
            counts.given += len(boxes)
            counts.there += len(ids)
    return counts


def _run(
    detector: GroundingDinoDetector, examples: Iterable[Example], absent: int
) -> list[tuple[Example, _Prompt, Detections]]:
    results = []
    for group in batched(examples, _BATCH):
        prompts = [_prompt(example, absent) for example in group]
        queries = [Query.of_phrases(prompt.phrases) for prompt in prompts]
        found = detector.detect([example.image for example in group], queries)
        for example, prompt, detections in zip(group, prompts, found, strict=True):
            if isinstance(detections, UnusableError):
                raise detections
            results.append((example, prompt, detections))
    return results


def _absent_refused(results: Iterable[tuple[Example, _Prompt, Detections]], score_min: float) -> float:
    """Return the share of absent phrases without a box above the threshold, unless it fits another phrase better."""
    refused = [
        bool(detections.scores[:, number].max() < score_min)
        for _, prompt, detections in results
        for number, ids in enumerate(prompt.object_ids)
        if not ids
    ]
    return sum(refused) / len(refused)


def _worth(results: Sequence[tuple[Example, _Prompt, Detections]], score_min: float, nms_iou: float) -> float:
    """Return the criterion for thresholds: F1, and with equal weight the share of absent phrases that are refused.

    F1 by itself hardly falls at the lowest thresholds, where any phrase that is prompted by itself finds a box.
    """
    return _thresholded(results, score_min, nms_iou).f1 + _absent_refused(results, score_min)


def judge_detector(path: str, recipe: EvaluationRecipe) -> dict[str, float]:
    """Return all metrics of a detector."""
    detector = GroundingDinoDetector(GroundingDinoOptions(model=path, score_min=0.0))
    tuning = _run(detector, recipe.examples(Split.VALIDATION), recipe.absent_phrases)
    score_min, nms_iou = max(product(_THRESHOLDS, _NMS_IOUS), key=lambda option: _worth(tuning, *option))
    present = _run(detector, recipe.examples(Split.TEST), 0)
    mixed = _run(detector, recipe.examples(Split.TEST), recipe.absent_phrases)
    counts, unseen = (_thresholded(mixed, score_min, nms_iou, kind) for kind in (None, True))
    return {
        "scenes": len(present),
        "objects": counts.there,
        "recall_50": _recall(present, 0.5, None),
        "recall_75": _recall(present, 0.75, None),
        "recall_50_unseen": _recall(present, 0.5, held_out=True),
        "recall_75_unseen": _recall(present, 0.75, held_out=True),
        "score_min": score_min,
        "nms_iou": nms_iou,
        "precision": counts.precision,
        "recall": counts.recall,
        "absent_refused": _absent_refused(mixed, score_min),
        "precision_unseen": unseen.precision,
        "recall_unseen": unseen.recall,
    }
