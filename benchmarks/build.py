"""CPU time of a build from given masks, by stage, beside other packages that write datasets of the same images.

    pip install supervision webdataset
    python -m benchmarks.build [--count 200] [--rounds 5]

One worker builds in this process; what is measured is the work that is parted: reading, decoding, masks, phrases,
links, overlays, shards and their digests, without start-up, planning and publishing. Other programs only make it
slower, so the least CPU time of all rounds counts, and all that is compared takes turns in each round. Captions repeat
after 100 images; new ones take 0.1 ms more.

The goals are 13 ms of CPU time per record with overlays, and 9 ms without them, on a machine on which Pillow decodes
one of these images in 3.15 ms. They are scaled by what it needs here. The writer of shards may take 1.25 times as long
as pyarrow for the same rows with the same options. The exit code is 1 if a gate fails, and 2 if a package is missing.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.coco_copies import write_copies
from benchmarks.peers import PEERS, missing_packages
from benchmarks.timed_engine import CPU_SECONDS, SECONDS
from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.core.drawing import draw_overlay, encode_jpeg
from datasetkit.core.files import file_sha256
from datasetkit.core.image import load_image
from datasetkit.core.protocols import SourceContext
from datasetkit.core.schema import record_to_row, row_schema
from datasetkit.export.dataset.shards import ShardWriter, _parquet_writer
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from datasetkit.sources.coco import CocoSource

GOALS_MS = {True: 13.0, False: 9.0}  # with and without overlays
DECODING_MS = 3.15  # of the machine for which they were set
WRITER_GOAL = 1.25
ENGINE = "benchmarks.timed_engine:TimedHere"
Row = dict[str, Any]


class Spent(NamedTuple):
    """Seconds, of the processor and on the clock."""

    cpu: float
    wall: float


class Least:
    """The least time of each thing that is measured."""

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = {}

    def add(self, name: str, spent: Spent) -> None:
        """Note a time; the least CPU time and the least time on the clock are kept."""
        known = self.spent.get(name, spent)
        self.spent[name] = Spent(min(known.cpu, spent.cpu), min(known.wall, spent.wall))

    def time(self, name: str, action: Callable[[], object]) -> None:
        """Run an action and note its time."""
        cpu, wall = time.process_time(), time.perf_counter()
        action()
        self.add(name, Spent(time.process_time() - cpu, time.perf_counter() - wall))


class Stages:
    """The stages of a build, one after the other in one thread; the least CPU time of each record in each stage."""

    def __init__(self, recipe: Recipe) -> None:
        self._aligner = KnownObjectAligner()
        self._source = CocoSource(recipe.source, SourceContext(recipe.image_limits, recipe.license, self._aligner))
        self._entries = list(self._source.entries())
        self._least: dict[tuple[str, int], float] = {}

    def run(self, overlay: bool) -> list[Row]:
        """Process every entry; return the rows."""
        return [self._row(number, overlay) for number in range(len(self._entries))]

    def _row(self, number: int, overlay: bool) -> Row:
        entry = self._entries[number]
        data = next(iter(self._source.inputs(entry).values())).read_bytes()
        self._time("decode", number, lambda: load_image(data, "image.jpg"))
        reading = self._time("read and decode, masks", number, lambda: self._source.read(entry))
        record = self._time("phrases, links", number, lambda: self._aligner.align(reading.record))
        encoded = None
        if overlay:
            drawn = self._time("draw overlay", number, lambda: draw_overlay(reading.pixels, record.key_objects))
            encoded = self._time("encode overlay", number, lambda: encode_jpeg(drawn))
        return self._time("row", number, lambda: record_to_row(record, encoded))

    def _time(self, stage: str, number: int, function: Callable[[], Any]) -> Any:
        start = time.thread_time()
        result = function()
        spent = time.thread_time() - start
        self._least[stage, number] = min(spent, self._least.get((stage, number), spent))
        return result

    def milliseconds(self) -> dict[str, float]:
        """Return the mean over the records, by stage."""
        totals: dict[str, float] = {}
        for (stage, _), spent in self._least.items():
            totals[stage] = totals.get(stage, 0.0) + 1000 * spent / len(self._entries)
        totals["read, masks"] = totals.pop("read and decode, masks") - totals["decode"]
        return totals


def decode_all(data: Path) -> None:
    """Decode every image with Pillow."""
    for path in sorted((data / "images").glob("*.jpg")):
        Image.open(io.BytesIO(path.read_bytes())).load()


def write_rows(rows: list[Row], path: Path, *, overlay: bool) -> None:
    """Write a shard as builds do."""
    with ShardWriter(path, overlay=overlay) as writer:
        for row in rows:
            writer.write(row)


def write_with_pyarrow(tables: list[pa.Table], path: Path, schema: pa.Schema) -> None:
    """Write tables as row groups with the options of shards."""
    with pa.OSFile(str(path), "wb") as file:
        writer = _parquet_writer(file, schema)
        for table in tables:
            writer.write_table(table, row_group_size=table.num_rows)
        writer.close()


def compare_writers(rows: list[Row], folder: Path, least: Least, *, overlay: bool) -> None:
    """Write the same rows with the writer of shards and with pyarrow alone.

    Raises:
        SystemExit: the files differ.

    """
    schema, ours, theirs = row_schema(overlay=overlay), folder / "ours.parquet", folder / "theirs.parquet"
    least.time("shard writer", lambda: write_rows(rows, ours, overlay=overlay))
    metadata = pq.read_metadata(ours)
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]

    def tables() -> list[pa.Table]:
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [
            pa.Table.from_pylist(rows[start : start + size], schema) for start, size in zip(starts, sizes, strict=True)
        ]

    least.time("pyarrow, same rows", lambda: write_with_pyarrow(tables(), theirs, schema))
    made = tables()
    least.time("pyarrow, a table that exists", lambda: write_with_pyarrow(made, theirs, schema))
    least.time("digest of the shard", lambda: file_sha256(ours))
    if ours.read_bytes() != theirs.read_bytes():
        raise SystemExit("the shard differs from what pyarrow writes")


def measure(data: Path, count: int, rounds: int) -> tuple[Least, dict[str, float]]:
    """Run everything in turns; return the least times, and the stages of a build with overlays in ms per record."""
    files = {"images": data / "images"} | {key: data / f"{key}.json" for key in ("instances", "captions")}
    recipes = {
        overlay: Recipe.checked({"source": {"name": "coco", **files}, "overlay": overlay, "part_size": count})
        for overlay in GOALS_MS
    }
    least, stages = Least(), Stages(recipes[True])
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        out = data / "out"
        least.time("decoding", lambda: decode_all(data))
        for overlay, recipe in recipes.items():
            build(recipe, RunOptions(out=out / str(overlay), engine=ENGINE, workers=1))
            least.add(build_name(overlay=overlay), Spent(CPU_SECONDS.pop(), SECONDS.pop()))
        compare_writers(stages.run(overlay=True), out, least, overlay=True)
        for name, write in PEERS.items():
            (out / name).mkdir()
            least.time(name, partial(write, data, out / name))
        shutil.rmtree(out)
    return least, stages.milliseconds()


def build_name(*, overlay: bool) -> str:
    """Return what a build is called in the results."""
    return "build, with overlays" if overlay else "build --no-overlay"


def is_met(what: str, value: float, goal: float, unit: str) -> bool:
    """Print a gate and whether it is met."""
    met = value <= goal
    print(f"{'met   ' if met else 'MISSED'}  {what}: {value:.2f}{unit}, at most {goal:.2f}{unit}")
    return met


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if missing := missing_packages():
        print(f"run: pip install {' '.join(missing)} (into an environment of their own)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        write_copies(options.count, data)
        least, stages = measure(data, options.count, options.rounds)
    milliseconds = {
        name: Spent(*(1000 * value / options.count for value in spent)) for name, spent in least.spent.items()
    }
    print(f"{'ms per record':40}{'CPU':>8}{'clock':>8}{'records/s':>11}")
    for name, spent in milliseconds.items():
        print(f"{name:40}{spent.cpu:8.2f}{spent.wall:8.2f}{1000 / spent.wall:11.0f}")
    print(f"\n{'stage of a build with overlays':40}{'CPU':>8}")
    stages |= {name: milliseconds[name].cpu for name in ("shard writer", "digest of the shard")}
    for name, spent_ms in sorted(stages.items(), key=lambda stage: -stage[1]):
        print(f"{name:40}{spent_ms:8.2f}")
    scale = milliseconds["decoding"].cpu / DECODING_MS
    print(f"\nPillow decodes an image in {milliseconds['decoding'].cpu:.2f} ms: goals are scaled by {scale:.2f}")
    verdicts = [
        is_met(build_name(overlay=overlay), milliseconds[build_name(overlay=overlay)].cpu, goal * scale, " ms")
        for overlay, goal in GOALS_MS.items()
    ]
    ratio = milliseconds["shard writer"].cpu / milliseconds["pyarrow, same rows"].cpu
    verdicts.append(is_met("shard writer, times pyarrow for the same rows", ratio, WRITER_GOAL, ""))
    ratio = milliseconds["shard writer"].cpu / milliseconds["pyarrow, a table that exists"].cpu
    print(f"        shard writer, times pyarrow for a table that exists already: {ratio:.2f}")
    return int(not all(verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
