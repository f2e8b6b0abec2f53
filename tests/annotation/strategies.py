"""Hypothesis strategies for detections and regions: coarse numbers, so that ties, nests and duplicates are common."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datasetkit.core.detections import Detections, Region
from datasetkit.core.mask import Mask

SIDE_PX = 8
UNIT = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
_MEASURED = st.none() | UNIT


@st.composite
def boxes_xyxy(draw: st.DrawFn) -> tuple[float, float, float, float]:
    left, top = draw(st.integers(0, SIDE_PX - 1)), draw(st.integers(0, SIDE_PX - 1))
    right, bottom = draw(st.integers(left + 1, SIDE_PX)), draw(st.integers(top + 1, SIDE_PX))
    return float(left), float(top), float(right), float(bottom)


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    phrases = draw(st.integers(0, 3))
    boxes = draw(st.lists(boxes_xyxy(), max_size=8))
    scores = draw(
        st.lists(st.lists(UNIT, min_size=phrases, max_size=phrases), min_size=len(boxes), max_size=len(boxes))
    )
    return Detections(
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(scores, dtype=np.float64).reshape(len(boxes), phrases),
    )


@st.composite
def regions(draw: st.DrawFn, max_size: int = 6) -> tuple[Region, ...]:
    """Generate regions of one image of 8 x 8 px, most of them boxes, some ragged."""
    phrases = draw(st.integers(1, 3))
    items = []
    for number in range(draw(st.integers(0, max_size))):
        box = draw(boxes_xyxy())
        left, top, right, bottom = (int(value) for value in box)
        array = np.zeros((SIDE_PX, SIDE_PX), dtype=np.bool_)
        array[top:bottom, left:right] = True
        if draw(st.booleans()):
            array &= draw(hnp.arrays(np.bool_, array.shape, elements=st.sampled_from([True, True, True, False])))
            array[top, left] = True
        items.append(
            Region(
                number=3 * number,
                box_xyxy=box,
                phrase_scores=tuple(draw(st.lists(UNIT, min_size=phrases, max_size=phrases))),
                mask=Mask.from_array(array),
                predicted_iou=draw(_MEASURED),
                stability=draw(_MEASURED),
                cleaning_iou=draw(_MEASURED),
                similarity=draw(_MEASURED),
            )
        )
    return tuple(items)
