"""Models whose answers come from a table: they follow the protocols, take no time, and can run out of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from datasetkit.annotation.alignment import PhraseQuery
from datasetkit.annotation.grounders.boxes_then_masks import BoxesThenMasks, grounding_of
from datasetkit.annotation.tasks import Task
from datasetkit.core.detections import (
    Box,
    Caption,
    Detections,
    FloatArray,
    Grounding,
    ModelIdentity,
    NoticeKind,
    Query,
    Segment,
)
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask
from datasetkit.core.protocols import Reading
from datasetkit.core.record import EncodedImage, Provenance, Record
from datasetkit.runtime.stages.chain import pool_of, run
from datasetkit.runtime.stages.gathering import Bounds
from datasetkit.runtime.stages.kinds import Failed
from datasetkit.runtime.stages.timers import Stages

Scores = Callable[[Box, str], float]


def colour(image: Image.Image) -> tuple[int, ...]:
    """Return the colour of the first pixel, by which the images of a test are distinguished."""
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


@dataclass
class Memory:
    """Fits a number of images at once, and some images never."""

    most: int = 10**6
    never: frozenset[tuple[int, ...]] = frozenset()
    asked: list[int] = field(default_factory=list)

    def take(self, images: Sequence[Image.Image]) -> None:
        self.asked.append(len(images))
        if len(images) > self.most or self.never & {colour(image) for image in images}:
            raise torch.OutOfMemoryError("a test's memory")


@dataclass
class TableDetector:
    """Finds the same boxes in every image, the best first, with scores by box and phrase from a table."""

    boxes: Sequence[Box]
    score: Scores
    memory: Memory = field(default_factory=Memory)
    unusable: frozenset[tuple[int, ...]] = frozenset()
    notices: tuple[NoticeKind, ...] = ()
    asked: list[Query] = field(default_factory=list)
    identities: tuple[ModelIdentity, ...] = (ModelIdentity("detector", "table", None, "0" * 64),)

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections | UnusableError]:
        self.memory.take(images)
        self.asked += queries
        return [self._found(image, query) for image, query in zip(images, queries, strict=True)]

    def _found(self, image: Image.Image, query: Query) -> Detections | UnusableError:
        if colour(image) in self.unusable:
            return UnusableError(DropReason.NOT_FINITE, "a test's image")
        boxes = np.array(self.boxes if query.spans else (), dtype=np.float64).reshape(-1, 4)
        scores = [[self.score(tuple(box), phrase) for phrase in query.phrases] for box in boxes.tolist()]
        table = np.array(scores, dtype=np.float64).reshape(len(boxes), len(query.spans))
        order = np.argsort(-table.max(axis=1, initial=0.0), kind="stable")
        return Detections(boxes[order], table[order], self.notices)


@dataclass
class TableSegmenter:
    """Selects every pixel of a box, or what a table has for the box."""

    masks: Mapping[Box, Mask | None] = field(default_factory=dict)
    predicted_iou: float | None = 0.875
    stability: float | None = 0.75
    memory: Memory = field(default_factory=Memory)
    identities: tuple[ModelIdentity, ...] = (ModelIdentity("segmenter", "table", None, "1" * 64),)

    def segment(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]) -> list[list[Segment]]:
        self.memory.take(images)
        return [
            [
                Segment(self._mask(tuple(box), (image.height, image.width)), self.predicted_iou, self.stability)
                for box in boxes.tolist()
            ]
            for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]

    def _mask(self, box: Box, size_hw: tuple[int, int]) -> Mask | None:
        return self.masks[box] if box in self.masks else filled(box, size_hw=size_hw)


@dataclass
class TableCaptioner:
    """Describes an image by what a table has for its colour."""

    captions: Mapping[tuple[int, ...], Caption]
    memory: Memory = field(default_factory=Memory)
    identities: tuple[ModelIdentity, ...] = (ModelIdentity("captioner", "table", None, "2" * 64),)

    def caption(self, images: Sequence[Image.Image]) -> list[Caption]:
        self.memory.take(images)
        return [self.captions[colour(image)] for image in images]


@dataclass
class TableCropScorer:
    """Scores every crop with the same similarity."""

    similarity: float
    memory: Memory = field(default_factory=Memory)
    identities: tuple[ModelIdentity, ...] = (ModelIdentity("similarity", "table", None, "3" * 64),)

    def score(self, crops: Sequence[Image.Image], phrases: Sequence[str]) -> FloatArray:
        self.memory.take(crops)
        assert len(crops) == len(phrases)
        return np.full(len(crops), self.similarity)


def filled(*boxes: Box, size_hw: tuple[int, int]) -> Mask:
    """Return the mask of all pixels that the boxes touch."""
    array = np.zeros(size_hw, dtype=np.bool_)
    for left, top, right, bottom in boxes:
        array[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
    return Mask.from_array(array)


def ground(
    grounder: BoxesThenMasks, images: Sequence[Image.Image], queries: Sequence[Query], timers: Stages | None = None
) -> list[Grounding | UnusableError]:
    """Take images through the stages of a grounder, one query for each."""
    chain = grounder.stages()
    tasks = [
        Task(Reading(_record(image), image), asked=PhraseQuery(query, ()))
        for image, query in zip(images, queries, strict=True)
    ]
    with closing(pool_of(chain, 1, "shared")) as pool:
        done = list(run(tasks, chain, pool, timers or Stages(), bounds=Bounds()))
    return [one.error if isinstance(one, Failed) else grounding_of(one.detections, one.segments) for one in done]


def _record(image: Image.Image) -> Record:
    encoded = EncodedImage(b"unread", "one.png", image.width, image.height)
    return Record("1/1", "1", encoded, None, Provenance("one.png", "unknown", "0" * 64))
