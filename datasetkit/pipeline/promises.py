"""What the exchangeable parts of a build promise. Owns the checks of the values that plug-ins return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import NoneType
from typing import Any

from PIL import Image

from datasetkit.core.detections import Caption, Detections, FloatArray, Grounding, Query, Region, Segment
from datasetkit.core.paths import Place
from datasetkit.core.protocols import NounPhrase, Reading
from datasetkit.runtime.parts import Promise


def _phrases(found: Sequence[Any], text: str) -> str | None:
    if not all(isinstance(one, NounPhrase) for one in found):
        return "items that are not of the class NounPhrase"
    edges = [0, *(edge for one in found for edge in (one.start, one.end)), len(text)]
    if any(first > second for first, second in pairwise(edges)) or any(one.start == one.end for one in found):
        return f"spans {[(one.start, one.end) for one in found]}; they must be rising and within {len(text)} characters"
    return None


def _files(found: Mapping[Any, Any], *_: Any) -> str | None:
    wrong = [place for place in found.values() if not isinstance(place, Place)]
    return f"a {type(wrong[0]).__name__} for a file; give a Path" if wrong else None


def _caption(found: Caption, _: Image.Image) -> str | None:
    return None if isinstance(found.text, str) else f"a text that is a {type(found.text).__name__}"


def _detections(found: Detections, image: Image.Image, query: Query) -> str | None:
    if found.scores.shape[1] != len(query.phrases):
        return f"scores of shape {found.scores.shape} for {len(query.phrases)} phrases"
    outside = found.boxes_xyxy[(found.boxes_xyxy[:, 2:] > (image.width, image.height)).any(axis=1)]
    return f"the box {outside[0].tolist()}, outside of {image.width} x {image.height} px" if len(outside) else None


def _segments(found: list[Any], image: Image.Image, boxes_xyxy: FloatArray) -> str | None:
    if len(found) != len(boxes_xyxy) or not all(isinstance(one, Segment) for one in found):
        return f"{len(found)} segments for {len(boxes_xyxy)} boxes; return a Segment for each"
    return _sizes([one.mask for one in found if one.mask is not None], image)


def _grounding(found: Grounding, image: Image.Image, query: Query) -> str | None:
    for region in found.regions:
        if not isinstance(region, Region) or len(region.phrase_scores) != len(query.phrases):
            return f"a region without a score for each of {len(query.phrases)} phrases"
    return _sizes([region.mask for region in found.regions], image)


def _sizes(masks: Sequence[Any], image: Image.Image) -> str | None:
    wrong = [mask for mask in masks if getattr(mask, "size_hw", None) != (image.height, image.width)]
    return f"a mask whose size is not {image.height} x {image.width} px" if wrong else None


def _model(method: str, promise: Promise) -> dict[str, Promise]:
    """Return what a model promises: ``forward`` returns the same as the whole call, after one further argument."""
    fault = promise.fault
    return {
        method: promise,
        "forward": replace(promise, is_optional=True, fault=lambda found, _, *asked: fault(found, *asked)),
    }


FIND = {"find": Promise((list, tuple), fault=_phrases)}
REFUSAL = {"refusal": Promise((str, NoneType))}
READ = {"read": Promise(Reading), "fingerprint": Promise(str)}
FILES = {name: Promise(Mapping, fault=_files) for name in ("inputs", "index_files")}
CAPTION = _model("caption", Promise(Caption, is_batch=True, fault=_caption))
DETECT = _model("detect", Promise(Detections, is_batch=True, fault=_detections))
SEGMENT = _model("segment", Promise(list, is_batch=True, fault=_segments))
GROUND = _model("ground", Promise(Grounding, is_batch=True, fault=_grounding))
