"""Boxes in an image's frame. Owns which of a model's boxes are returned, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datasetkit.core.detections import Detections, FloatArray
from datasetkit.core.ledger import NoticeKind


def corners_of(boxes_cxcywh: FloatArray, frame_wh: tuple[int, int]) -> FloatArray:
    """Turn centres and sizes in shares of a frame into corners.

    Args:
        boxes_cxcywh: centre x and y, width and height; shape (N, 4), shares of the frame.
        frame_wh: width and height of the frame, px.

    Returns:
        Left, top, right, bottom; shape (N, 4), px, not clipped.

    """
    centres, halves = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1) * (*frame_wh, *frame_wh)


def sift_boxes(
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    size_wh: tuple[int, int],
    score_min: float,
    notices: Sequence[NoticeKind] = (),
) -> Detections:
    """Clip boxes to the image; leave out those that are then empty or score below the minimum for every phrase.

    Args:
        boxes_xyxy: left, top, right, bottom; shape (N, 4), px.
        scores: shape (N, P), range [0, 1].
        size_wh: width and height of the image, px.
        score_min: minimum score of a box's best phrase.
        notices: what happened to the query.

    Returns:
        The remaining boxes, the best first; equal ones keep their order.

    """
    clipped = np.clip(boxes_xyxy, 0, (*size_wh, *size_wh))
    best = scores.max(axis=1, initial=0.0)
    kept = np.flatnonzero((clipped[:, 2:] > clipped[:, :2]).all(axis=1) & (best >= score_min))
    kept = kept[np.argsort(-best[kept], kind="stable")]
    return Detections(clipped[kept], scores[kept], tuple(notices))
