"""Boxes: conversions and overlaps. Owns box arithmetic; formats are in the names (``xywh``, ``xyxy``), units are px.

All arrays have shape (N, 4) and any float dtype; x grows to the right, y down, the origin is the picture's top left
corner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


def xywh_to_xyxy(boxes_xywh: FloatArray) -> FloatArray:
    """Turn (left, top, width, height) into (left, top, right, bottom); shape (N, 4) in and out."""
    boxes = np.asarray(boxes_xywh, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_xywh(boxes_xyxy: FloatArray) -> FloatArray:
    """Turn (left, top, right, bottom) into (left, top, width, height); shape (N, 4) in and out."""
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
