"""Builds with models as chains of stages: equal rows however the stages overlap, and parts with a preparer."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.tasks import Annotator
from datasetkit.core.detections import Caption, Detections, FloatArray, Query, Segment
from datasetkit.core.errors import ModelError, PluginError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask
from datasetkit.core.protocols import Prepared, SourceContext
from datasetkit.export.output.part import Outcome
from datasetkit.options import Recipe, ToyworldOptions
from datasetkit.options.base import InstanceOptions
from datasetkit.options.build import Placement
from datasetkit.options.presets import preset
from datasetkit.pipeline.inputs import Inputs
from datasetkit.pipeline.models import model_annotator
from datasetkit.pipeline.records import Pipeline
from datasetkit.runtime.stages.timers import Stages
from datasetkit.sources.toyworld import ToyworldSource

COUNT = 11


def recipe(**grounding: Any) -> Recipe:
    source = {"name": "toyworld", "count": COUNT, "size_px": 64, "scene_split": "test"}
    return Recipe.checked({"source": source, "grounding": {**preset("toyworld", {}), **grounding}})


def outcomes(
    chosen: Recipe, annotator: Annotator, workers: int = 2, window: int = 8, stages: Stages | None = None
) -> list[Outcome]:
    assert isinstance(chosen.source, ToyworldOptions)
    aligner = KnownObjectAligner(objects_known=True)
    source = ToyworldSource(chosen.source, SourceContext(aligner=aligner))
    made = Pipeline(
        chosen,
        source,
        aligner,
        annotator,
        (),
        Inputs(source, ""),
        window=window,
        workers=workers,
        stages=stages or Stages(),
    )
    with closing(made):
        return list(made.run(list(source.entries())))


def shipped(chosen: Recipe, device: str = "cpu", **placement: Any) -> Annotator:
    """Load the shipped models; a device other than the CPU is only said to be one."""
    assert chosen.grounding is not None
    where = Placement(**{"device": "cpu", "captioner_batch": 2, "detector_batch": 2, "segmenter_batch": 3, **placement})
    made = model_annotator(chosen.grounding, where, NounPhraseFinder(), describes=True, key_max=None)
    made.device = device
    return made


@pytest.fixture(scope="module")
def one_by_one() -> list[Outcome]:
    """Run the shipped models with every stage in turn: nothing is prepared while the device works."""
    chosen = recipe(recaption=True)
    annotator = shipped(chosen)
    stages = annotator.stages()
    lock = threading.Lock()
    for stage in stages:
        for name in ("function", "forward", "prepare"):
            if getattr(stage, name, None) is not None:
                object.__setattr__(stage, name, _alone(lock, getattr(stage, name)))
    object.__setattr__(annotator, "stages", lambda: stages)
    return outcomes(chosen, annotator, workers=1)


def _alone(lock: threading.Lock, function: Any) -> Any:
    def call(*arguments: Any) -> Any:
        with lock:
            return function(*arguments)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_overlapped_stages_yield_equal_rows(one_by_one: list[Outcome], workers: int) -> None:
    chosen = recipe(recaption=True)
    assert outcomes(chosen, shipped(chosen), workers) == one_by_one
    assert all(outcome.row is not None for outcome in one_by_one)


@pytest.mark.slow
def test_processes_beside_a_gpu_yield_equal_rows(one_by_one: list[Outcome]) -> None:
    chosen, stages = recipe(recaption=True), Stages()
    assert outcomes(chosen, shipped(chosen, "cuda:0"), 2, stages=stages) == one_by_one
    found = stages.snapshot().stages
    assert {name for name, work in found.items() if work.on_device} == {"caption", "detect", "segment"}
    assert {name: (work.items, work.lanes) for name, work in found.items() if not work.on_device} == dict.fromkeys(
        ("read", "prepare caption", "phrases", "prepare detect", "prepare segment", "masks", "clean", "link", "draw"),
        (COUNT, 2),
    )


class _Grey:
    """Prepares the mean of an image, in whichever process."""

    def __call__(self, image: Image.Image, *asked: Any) -> Prepared:
        if image.getpixel((0, 0)) == (0, 0, 0):
            raise UnusableError(DropReason.EMPTY, "black")
        return Prepared(image.size, (os.getpid(), float(np.asarray(image).mean())))


class Bright:
    """Finds the left half of each image, by what was prepared."""

    def __init__(self) -> None:
        self.preparer = _Grey()
        self.seen: list[tuple[list[int], list[Any]]] = []

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections]:
        raise AssertionError("a part with a preparer is called in halves")

    def forward(
        self, prepared: Sequence[Any], images: Sequence[Image.Image], queries: Sequence[Query]
    ) -> list[Detections]:
        self.seen.append(([pid for pid, _ in prepared], [image.size for image in images]))
        assert [mean for _, mean in prepared] == [float(np.asarray(image).mean()) for image in images]
        return [
            Detections(
                np.array([[0.0, 0.0, image.width / 2, float(image.height)]]), np.full((1, len(query.phrases)), 0.9)
            )
            for image, query in zip(images, queries, strict=True)
        ]


class Boxes:
    """Has no preparer: the whole call runs on the device."""

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def segment(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]) -> list[list[Segment]]:
        self.threads.add(threading.current_thread().name)
        return [
            [Segment(Mask.from_array(np.ones((image.height, image.width), bool)), None, None) for _ in boxes]
            for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]


def by_objects(**parts: Any) -> tuple[Recipe, Annotator]:
    chosen = recipe(**{name: InstanceOptions.of(part) for name, part in parts.items()}, recaption="captioner" in parts)
    assert chosen.grounding is not None
    placement = Placement(device="cpu", detector_batch=4)
    made = model_annotator(
        chosen.grounding, placement, NounPhraseFinder(), describes="captioner" in parts, key_max=None
    )
    return chosen, made


@pytest.mark.slow
def test_plugin_prepares_in_processes_and_the_rest_on_the_device() -> None:
    detector, segmenter = Bright(), Boxes()
    chosen, annotator = by_objects(detector=detector, segmenter=segmenter)
    annotator.device = "cuda:0"
    found = outcomes(chosen, annotator)
    assert all(outcome.row is not None for outcome in found)
    pids = set(itertools.chain.from_iterable(pids for pids, _ in detector.seen))
    assert os.getpid() not in pids
    assert [len(sizes) for _, sizes in detector.seen] == [4, 4, 3]
    assert segmenter.threads == {"device"}


def test_plugin_with_a_preparer_yields_equal_rows_on_a_cpu() -> None:
    chosen, annotator = by_objects(detector=Bright(), segmenter=Boxes())
    found = outcomes(chosen, annotator, workers=3)
    assert all(outcome.row is not None for outcome in found)
    assert outcomes(*by_objects(detector=Bright(), segmenter=Boxes()), workers=1) == found


class Halved(Bright):
    """Has the first half only."""

    forward = None  # type: ignore[assignment]


class Wrong(Bright):
    """Answers for phrases that it was not asked for."""

    def forward(
        self, prepared: Sequence[Any], images: Sequence[Image.Image], queries: Sequence[Query]
    ) -> list[Detections]:
        return [Detections(np.zeros((0, 4)), np.zeros((0, 99))) for _ in images]


class Unready(Bright):
    """Prepares nothing that can be gathered."""

    def __init__(self) -> None:
        super().__init__()
        self.preparer = lambda *asked: asked[1]  # type: ignore[assignment]


class Keyless(Bright):
    """Has keys that cannot be gathered."""

    def __init__(self) -> None:
        super().__init__()
        self.preparer = lambda *_: Prepared([], None)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (Halved, "Halved has no method forward"),
        (Wrong, r"Wrong: forward returned scores of shape \(0, 99\) for \d+ phrases"),
        (Unready, "Unready: its preparer returned a Query, not Prepared"),
        (Keyless, "Keyless has a preparer whose keys cannot be compared: TypeError: unhashable type: 'list'"),
    ],
)
def test_a_broken_preparer_names_its_plugin(detector: type, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        outcomes(*by_objects(detector=detector(), segmenter=Boxes()))


class Endpoint:
    """Describes images on another machine; the first five requests wait for each other, and one image has no answer."""

    requests = 5

    def __init__(self, unanswered: bytes) -> None:
        self._unanswered = unanswered
        self._numbers = itertools.count()
        self._together = threading.Barrier(5)

    def caption(self, images: Sequence[Image.Image]) -> list[Any]:
        (image,) = images
        if next(self._numbers) < 5:
            self._together.wait(20)
        is_lost = image.tobytes() == self._unanswered
        return [UnusableError(DropReason.NOT_FINITE, "no answer") if is_lost else Caption("a red star")]


def test_captioner_that_asks_another_machine_runs_ahead() -> None:
    scenes = ToyworldSource(ToyworldOptions(count=COUNT, size_px=64, scene_split="test"))
    third = scenes.read(list(scenes.entries())[2]).pixels
    stages = Stages()
    found = outcomes(*by_objects(captioner=Endpoint(third.tobytes())), workers=1, stages=stages)
    assert [place for place, outcome in enumerate(found) if outcome.row is None] == [2]
    assert [drop.reason for drop in found[2].drops if drop.scope == "record"] == [DropReason.NOT_FINITE]
    assert {outcome.row["description"] for outcome in found if outcome.row is not None} == {"a red star"}
    work = stages.snapshot().stages["caption"]
    assert (work.items, work.lanes, work.on_device) == (COUNT - 1, 5, False)


def test_captioner_without_requests_is_refused() -> None:
    endpoint = Endpoint(b"")
    endpoint.requests = 0
    with pytest.raises(ModelError, match="requests are 0; give a number of at least 1"):
        by_objects(captioner=endpoint)
