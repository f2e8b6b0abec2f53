"""How well the stages of a build with models overlap: the time of a build beside that of its slowest stage.

    python -m benchmarks.overlap [--count 256] [--workers 2] [--requests 32]
    python -m benchmarks.overlap --device cuda [--count 256] [--workers 8] [--dtype bfloat16]

Without a device, models are stand-ins: a captioner that answers a request after 1 s, and a detector and a segmenter
that keep the "device" for 0.15 s per image together, in which they sleep, as a thread does that waits for a GPU.
Everything else is real: images of coco_mini, the image processors of Grounding DINO and SAM at their real sizes in
processes, phrases, masks, cleaning, links, overlays and rows. The run fails if the build takes more than 1.15 times as
long as its slowest stage, or if the device, where it is the slowest, works less than 0.95 of the time. Start-up is
excluded: some images go first. The machine should be quiet, as both gates are about wall time.

With a device, models have random weights at real shapes: a captioner as SmolVLM-256M, Grounding DINO tiny, SAM ViT-B.
They write a given caption, and keep four boxes per image, since random ones name nothing. Nothing is gated.

Rates and busy shares are those that ``datasetkit build`` shows and writes next to OUT.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import GroundingDinoImageProcessorPil, SamImageProcessorPil

from benchmarks.coco_copies import coco_mini, write_copies
from benchmarks.masks import blobs
from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.annotation.describing import Describer
from datasetkit.annotation.detectors.grounding_dino import GroundingDinoPreparer
from datasetkit.annotation.grounded import GroundedAnnotator
from datasetkit.annotation.grounders.boxes_then_masks import BoxesThenMasks
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.segmenters.masks import pack_masks
from datasetkit.annotation.segmenters.packed import PackedMasks, segments_of
from datasetkit.annotation.segmenters.sam import SamPreparer
from datasetkit.core.detections import Caption, Detections, FloatArray, ModelIdentity, Query
from datasetkit.core.protocols import Captioner, Detector, Segmenter, SourceContext
from datasetkit.options import GroundingOptions, Recipe
from datasetkit.options.build import Placement
from datasetkit.pipeline.inputs import Inputs
from datasetkit.pipeline.records import Pipeline
from datasetkit.runtime.loading import load_processor
from datasetkit.runtime.stages.timers import Snapshot, Stages
from datasetkit.sources.coco import CocoSource

TEXT = "A man in a red shirt walks two dogs past a parked car and a bench near an old house."
REQUEST_S = 1.0
DEVICE_S = 0.15  # per image, of both models together
BOXES = 4
MOST_OVER_SLOWEST = 1.15
LEAST_BUSY = 0.95
# Largest number of tokens of a prompt of Grounding DINO, without the two at its ends.
TOKEN_LIMIT = 254


class Endpoint:
    """A captioner on another machine."""

    identities: tuple[ModelIdentity, ...] = ()

    def __init__(self, requests: int) -> None:
        self.requests = requests

    def caption(self, images: Sequence[Image.Image]) -> list[Caption]:
        """Answer after a while."""
        time.sleep(REQUEST_S)
        return [Caption(TEXT) for _ in images]


class StandInDetector:
    """Keeps the device for a while, and finds boxes at given shares of each image."""

    identities: tuple[ModelIdentity, ...] = ()

    def __init__(self) -> None:
        from transformers import AutoProcessor

        tokenizer = load_processor(AutoProcessor, "toyworld:detector", None).tokenizer
        self.preparer = GroundingDinoPreparer(GroundingDinoImageProcessorPil(), tokenizer, TOKEN_LIMIT)

    def detect(self, images: Sequence[Image.Image], queries: Sequence[Query]) -> list[Detections]:
        """Detect by both halves."""
        return self.forward([self.preparer(*pair).value for pair in zip(images, queries, strict=True)], images, queries)

    def forward(
        self,
        prepared: Sequence[Any],  # noqa: ARG002 - of the protocol
        images: Sequence[Image.Image],
        queries: Sequence[Query],
    ) -> list[Detections]:
        """Wait for the device."""
        time.sleep(DEVICE_S / 2 * len(images))
        return [found_in(image, query) for image, query in zip(images, queries, strict=True)]


def found_in(image: Image.Image, query: Query) -> Detections:
    """Return boxes that lie next to each other, each with a phrase of its own."""
    edges = np.linspace(0.05, 0.95, BOXES + 1)
    shares = np.stack([edges[:-1], np.full(BOXES, 0.1), edges[1:], np.full(BOXES, 0.9)], axis=1)
    scores = np.zeros((BOXES, len(query.phrases)))
    scores[np.arange(BOXES), np.arange(BOXES) % len(query.phrases)] = 0.9
    return Detections(shares * (image.size * 2), scores)


class StandInSegmenter:
    """Keeps the device for a while, and returns masks with ragged outlines, which were made before."""

    identities: tuple[ModelIdentity, ...] = ()
    finisher = staticmethod(segments_of)

    def __init__(self) -> None:
        self.preparer = SamPreparer(SamImageProcessorPil())
        sizes_wh = {Image.open(path).size for path in coco_mini().glob("*2017/*.jpg")}
        self._masks = {(height, width): _packed(height, width) for width, height in sizes_wh}

    def segment(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[FloatArray]) -> list[Any]:
        """Segment by both halves."""
        prepared = [self.preparer(image).value for image in images]
        return [segments_of(masks) for masks in self.forward(prepared, images, boxes_xyxy)]

    def forward(
        self,
        prepared: Sequence[Any],  # noqa: ARG002 - of the protocol
        images: Sequence[Image.Image],
        boxes_xyxy: Sequence[FloatArray],  # noqa: ARG002
    ) -> list[PackedMasks]:
        """Wait for the device."""
        time.sleep(DEVICE_S / 2 * len(images))
        return [self._masks[image.height, image.width] for image in images]


def _packed(height: int, width: int) -> PackedMasks:
    logits = blobs(BOXES)
    rows = pack_masks(logits, logits.new_full((BOXES,), 0.9), (height, width))
    return PackedMasks(np.stack([row.numpy() for row in rows]), (height, width))


def annotator_of(captioner: Captioner, detector: Detector, segmenter: Segmenter, device: str) -> GroundedAnnotator:
    """Combine models as a build does."""
    sizes = Placement()
    options = GroundingOptions.model_validate(
        {
            "captioner": {"name": "image-text-to-text", "model": "none"},
            "detector": {"name": "owlv2", "model": "none"},
            "segmenter": {"name": "sam", "model": "none"},
            "recaption": True,
        }
    )
    return GroundedAnnotator(
        options,
        finder=NounPhraseFinder(),
        grounder=BoxesThenMasks(
            detector, segmenter, detector_batch=sizes.detector_batch, segmenter_batch=sizes.segmenter_batch
        ),
        describer=Describer(captioner, recaption=True, batch=sizes.captioner_batch, device=device),
        device=device,
    )


def measure(annotator: GroundedAnnotator, count: int, workers: int) -> Snapshot:
    """Annotate copies of coco_mini's images as one part, after some others; return the work of the part."""
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        write_copies(count, data)
        files = {"images": data / "images", "instances": data / "instances.json", "captions": data / "captions.json"}
        recipe = Recipe.checked({"source": {"name": "coco", **files}})
        aligner = KnownObjectAligner()
        source = CocoSource(recipe.source, SourceContext(recipe.image_limits, recipe.license, aligner))
        stages = Stages()
        pipeline = Pipeline(
            recipe,
            source,
            aligner,
            annotator,
            (),
            Inputs(source, ""),
            window=Placement().window,
            workers=workers,
            stages=stages,
        )
        entries = list(source.entries())
        with closing(pipeline):
            for _ in pipeline.run(entries[: 8 * workers]):
                pass
            stages.take()
            kept = sum(outcome.row is not None for outcome in pipeline.run(entries))
            work = stages.take()
    if kept < count:
        raise SystemExit(f"only {kept} of {count} images became records")
    return work


def report(work: Snapshot, count: int) -> bool:
    """Print rates and busy shares; return whether both gates are met."""
    print(f"{count} images in {work.elapsed:.1f} s: {count / work.elapsed:.2f} images/s")
    alone = {name: one.seconds / one.lanes for name, one in work.stages.items() if not one.on_device}
    alone["device"] = sum(one.seconds for one in work.stages.values() if one.on_device)
    for name, one in work.stages.items():
        where = "device" if one.on_device else f"{one.lanes} lanes"
        print(f"{name:<18}{work.rates[name]:>9.1f}/s{work.busy[name]:>7.0%} busy  {where}")
    slowest = max(alone, key=lambda name: alone[name])
    over, busy = work.elapsed / alone[slowest], work.device_busy or 0.0
    print(
        f"device {busy:.3f} busy; slowest: {slowest}, {alone[slowest]:.1f} s; the whole took {over:.3f} times as long"
    )
    return over <= MOST_OVER_SLOWEST and (slowest != "device" or busy >= LEAST_BUSY)


def main() -> None:
    """Measure, print, and fail if a gate is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes beside the device")
    parser.add_argument("--requests", type=int, default=32, help="requests of the stand-in captioner at once")
    parser.add_argument("--device", help="device of models with random weights, in place of stand-ins")
    parser.add_argument("--dtype", default="float32")
    chosen = parser.parse_args()
    print(f"load of the last minute before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    if chosen.device is not None:
        from benchmarks.random_models import random_models

        models: tuple[Any, Any, Any] = random_models(chosen.device, chosen.dtype, TEXT, found_in)
        report(measure(annotator_of(*models, chosen.device), chosen.count, chosen.workers), chosen.count)
        return
    standing_in = annotator_of(Endpoint(chosen.requests), StandInDetector(), StandInSegmenter(), "cuda")
    if not report(measure(standing_in, chosen.count, chosen.workers), chosen.count):
        print(f"failed: at most {MOST_OVER_SLOWEST} times the slowest stage, a slowest device {LEAST_BUSY} busy")
        sys.exit(1)


if __name__ == "__main__":
    main()
