"""Time of a build with models beyond their forward passes, and the effect of batches.

    python -m benchmarks.grounding_speed [--count 300] [--batch 8]

The models of toyworld are so small that all overhead is visible. First a complete build: the time within forward
passes, the share of the rest, and its stages (which run in several threads, so they may add up to more than the wall
clock). Then images per second with batches of the given size and of 1, alternating.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.core.protocols import Reading
from datasetkit.options import GroundingOptions, Recipe, ToyworldOptions
from datasetkit.options.build import Placement, RunOptions
from datasetkit.options.presets import preset
from datasetkit.pipeline.build import build
from datasetkit.pipeline.models import model_annotator
from datasetkit.pipeline.progress import Progress
from datasetkit.sources.toyworld import ToyworldSource

ROUNDS = 3


class ForwardClock:
    """Adds up the time within forward passes, including nested modules once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0
        self._start = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count every forward pass in the body."""
        handles = (
            torch_module.register_module_forward_pre_hook(self._enter),
            torch_module.register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, *_: Any) -> None:
        if self._depth == 0:
            self._start = time.perf_counter()
        self._depth += 1

    def _leave(self, *_: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._start


def time_build(count: int, batch: int) -> None:
    """Build once and print the times by stage."""
    grounding = preset("toyworld", {})
    recipe = Recipe.checked({"source": {"name": "toyworld", "count": count}, "grounding": grounding})
    placement = Placement(device="cpu", captioner_batch=batch, detector_batch=batch, segmenter_batch=batch)
    last: list[Progress] = []
    clock = ForwardClock()
    with tempfile.TemporaryDirectory() as folder, clock.running():
        start = time.perf_counter()
        build(
            recipe, RunOptions(out=Path(folder) / "out", workers=2, **dict(placement)), lambda item: last.append(item)
        )
        wall = time.perf_counter() - start
    print(f"build of {count} scenes: {wall:.1f} s, {count / wall:.1f} records/s")
    print(f"within forward passes {clock.seconds:.1f} s; outside {1 - clock.seconds / wall:.1%} of all")
    work = last[-1].work
    for stage, one in () if work is None else work.stages.items():
        print(f"{1000 * one.seconds / count:8.2f} ms per record  {stage}")


def rate(readings: list[Reading], batch: int, options: GroundingOptions) -> float:
    """Return the images per second."""
    placement = Placement(device="cpu", captioner_batch=batch, detector_batch=batch, segmenter_batch=batch)
    annotator = model_annotator(options, placement, NounPhraseFinder(), describes=False, key_max=None)
    annotator.annotate(readings[:batch])
    start = time.perf_counter()
    for first in range(0, len(readings), batch):
        annotator.annotate(readings[first : first + batch])
    return len(readings) / (time.perf_counter() - start)


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    time_build(arguments.count, arguments.batch)
    source = ToyworldSource(ToyworldOptions(count=64, scene_split="test"))
    readings = [source.read(entry) for entry in source.entries()]
    options = GroundingOptions.model_validate(preset("toyworld", {}))
    rounds = [(rate(readings, arguments.batch, options), rate(readings, 1, options)) for _ in range(ROUNDS)]
    many, one = (median(column) for column in zip(*rounds, strict=True))
    print(f"batch {arguments.batch}: {many:.1f} images/s, batch 1: {one:.1f}; {many / one:.2f} times")
    print(f"{torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
