"""Evaluation of the segmenter: IoU of the masks of visible objects from exact and from moved boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasetkit.annotation.segmenters.sam import SamSegmenter
from datasetkit.core.errors import UnusableError
from datasetkit.core.mask import BoolArray
from datasetkit.options.models import SamOptions
from datasetkit.toyworld.scenes import Size, Split, stream
from tools.toyworld.evaluation.recipe import EvaluationRecipe, Example


def segment(segmenter: SamSegmenter, example: Example, boxes_xyxy: NDArray[np.float64]) -> BoolArray:
    """Return one mask per box (N, 4) in px, shape (N, H, W), dtype bool; may be empty."""
    masks = np.zeros((len(boxes_xyxy), *example.scene.config.canvas_hw), dtype=np.bool_)
    (segments,) = segmenter.segment([example.image], [boxes_xyxy])
    if isinstance(segments, UnusableError):
        raise segments
    for place, found in zip(masks, segments, strict=True):
        if found.mask is not None:
            place[:] = found.mask.decode()
    return masks


def moved(example: Example, share: float) -> NDArray[np.float64]:
    """Return the boxes of an example, each side shifted by up to a share of width or height, inside the image."""
    rng = stream(example.scene.seed, "evaluation/boxes")
    height, width = example.scene.config.canvas_hw
    boxes = []
    for left, top, right, bottom in example.boxes_xyxy.tolist():
        dx, dy = share * (right - left), share * (bottom - top)
        sides = ((left, dx, width), (top, dy, height), (right, dx, width), (bottom, dy, height))
        boxes.append([min(max(value + rng.uniform(-reach, reach), 0.0), limit) for value, reach, limit in sides])
    return np.array(boxes, dtype=np.float64)


def mask_ious(masks: BoolArray, others: BoolArray) -> NDArray[np.float64]:
    """Return the intersection over union of masks (N, H, W) pair by pair, shape (N,)."""
    return (masks & others).sum((1, 2)) / np.maximum((masks | others).sum((1, 2)), 1)


def judge_segmenter(path: str, recipe: EvaluationRecipe) -> dict[str, float]:
    """Return all metrics of a segmenter."""
    segmenter = SamSegmenter(SamOptions(model=path))
    exact: list[float] = []
    jittered: list[float] = []
    small: list[bool] = []
    covered: list[bool] = []
    unseen: list[bool] = []
    scenes = 0
    for example in recipe.examples(Split.TEST):
        scenes += 1
        exact += mask_ious(segment(segmenter, example, example.boxes_xyxy), example.masks).tolist()
        boxes = moved(example, recipe.box_jitter)
        jittered += mask_ious(segment(segmenter, example, boxes), example.masks).tolist()
        occlusion = example.scene.occlusion
        for index, item in enumerate(example.scene.objects):
            small.append(item.size is Size.SMALL)
            covered.append(occlusion is not None and index == occlusion[1])
            unseen.append(item.is_held_out)
    values = np.array(exact)
    return {
        "scenes": scenes,
        "objects": len(exact),
        "iou": float(values.mean()),
        "iou_jittered": float(np.mean(jittered)),
        "iou_small": float(values[np.array(small)].mean()),
        "iou_large": float(values[~np.array(small)].mean()),
        "iou_partly_covered": _mean(values[np.array(covered)]),
        "iou_unseen": _mean(values[np.array(unseen)]),
        "share_over_75": float((values >= 0.75).mean()),
    }


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
