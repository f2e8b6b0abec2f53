"""Speed of a complete build from COCO data, by stage.

    python -m benchmarks.build [--count 500]

The rate is that of ``datasetkit.pipeline.build.build`` with all cores, compared with decoding the same images once with
the same number of threads. The stages are timed one after another in one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from benchmarks.coco_copies import write_copies
from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.core.drawing import draw_overlay, encode_jpeg
from datasetkit.core.files import file_sha256
from datasetkit.core.image import load_image
from datasetkit.core.protocols import SourceContext
from datasetkit.core.schema import record_to_row
from datasetkit.export.dataset.shards import ShardWriter
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from datasetkit.sources.coco import CocoSource

Result = TypeVar("Result")


class Stages:
    """Adds up seconds by stage."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def time(self, name: str, function: Callable[[], Result]) -> Result:
        """Run one call and add its time."""
        start = time.perf_counter()
        result = function()
        self.seconds[name] += time.perf_counter() - start
        return result


def profile(recipe: Recipe, out: Path) -> Stages:
    """Run the stages of a build for each entry, in one thread."""
    stages = Stages()
    aligner = KnownObjectAligner()
    context = SourceContext(recipe.image_limits, recipe.license, aligner)
    source = stages.time("index annotations", lambda: CocoSource(recipe.source, context))
    writer = ShardWriter(out, overlay=True)
    for entry in source.entries():
        reading = stages.time("read image, decode masks", lambda entry=entry: source.read(entry))
        record = stages.time("phrases and alignment", lambda reading=reading: aligner.align(reading.record))
        overlay = stages.time(
            "overlay", lambda r=reading, record=record: encode_jpeg(draw_overlay(r.pixels, record.key_objects))
        )
        row = stages.time("row", lambda record=record, overlay=overlay: record_to_row(record, overlay))
        stages.time("write", lambda row=row: writer.write(row))
    stages.time("write", writer.close)
    stages.time("hash", lambda: file_sha256(out))
    return stages


def decode_all(folder: Path, workers: int) -> float:
    """Decode every image once; return the seconds."""
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda path: load_image(path.read_bytes(), path.name).raw_size_hw, folder.glob("*.jpg")))
    return time.perf_counter() - start


def main() -> None:
    """Build once, profile once, print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    count = parser.parse_args().count
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        write_copies(count, data)
        source = {
            "name": "coco",
            "images": data / "images",
            "instances": data / "instances.json",
            "captions": data / "captions.json",
        }
        recipe = Recipe.checked({"source": source})
        decoding = decode_all(data / "images", workers)
        start = time.perf_counter()
        build(recipe, RunOptions(out=data / "out", workers=workers))
        seconds = time.perf_counter() - start
        stages = profile(recipe, data / "profile.parquet").seconds
    print(
        f"build: {count / seconds:.0f} records/s with {workers} threads, {seconds / decoding:.1f} times decoding only"
    )
    total = sum(stages.values())
    for stage, spent in stages.most_common():
        print(f"{spent / total:6.1%}  {1000 * spent / count:7.2f} ms per record  {stage}")


if __name__ == "__main__":
    main()
