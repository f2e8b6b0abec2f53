"""CPU time and peak memory of publishing datasets of 1,000, 4,000 and 10,000 small parts.

    python -m benchmarks.publishing [--parts 1000 4000 10000]

The parts, of one record each, are written by one process, and published by another: read again, put together, described
and exchanged. Publishing the most of them must take at most five minutes of CPU time. Each further part may take at
most 1.5 times as long beyond the middle number as below it: no step is quadratic. The exit status is 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from datasetkit import __version__
from datasetkit.core.mask import Mask
from datasetkit.core.record import EncodedImage, KeyObject, ObjectStatus, Phrase, PhraseStatus, Provenance, Record
from datasetkit.core.schema import SCHEMA_VERSION, record_to_row
from datasetkit.export.card.describe import describe
from datasetkit.export.output.folder import BuildFolder
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.part import Outcome, PartWriter
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.records import REASON_MEANINGS

MOST_S = 300.0
MOST_GROWTH = 1.5
_SIZE_HW = (24, 32)


def identity() -> BuildIdentity:
    """Return the identity of the build."""
    recipe = Recipe.checked({"source": {"name": "folder", "folder": Path("images")}, "overlay": False})
    return BuildIdentity(recipe.published(), "0" * 64, SCHEMA_VERSION, __version__)


def record(number: int) -> Record:
    """Return a small record, different for every number."""
    pixels = np.random.default_rng(number).integers(0, 256, (*_SIZE_HW, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    mask = np.zeros(_SIZE_HW, dtype=np.bool_)
    mask[4:20, 4:28] = True
    return Record(
        record_id=str(number),
        image_id=str(number),
        image=EncodedImage(buffer.getvalue(), f"{number}.png", _SIZE_HW[1], _SIZE_HW[0]),
        description="A cat sits there.",
        source=Provenance(f"{number}.png", "cc0-1.0", hashlib.sha256(buffer.getvalue()).hexdigest()),
        objects=(KeyObject(0, Mask.from_array(mask), "cat", True, 0.9, status=ObjectStatus.MENTIONED),),
        phrases=(Phrase("A cat", 0, 5, object_ids=(0,), score=0.75, status=PhraseStatus.MATCHED),),
    )


def write_parts(count: int, out: Path) -> None:
    """Write all parts of a build, and stop before it is published."""
    with BuildFolder(out, identity()) as folder:
        folder.resume()
        for index in range(count):
            with PartWriter(folder.parts, index, overlay=False) as writer:
                writer.add(Outcome(record_to_row(record(index)), "train", 1, (), ()))


def publish(out: Path) -> None:
    """Publish a build whose parts are all there; print the CPU seconds and the peak memory in MiB."""
    start = time.process_time()
    with BuildFolder(out, identity()) as folder:
        folder.resume()
        manifest = folder.publish(())
        describe(folder.papers, manifest, folder.parts.statistics(), REASON_MEANINGS, folder.former_card)
        folder.close()
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def measure(count: int) -> tuple[float, float]:
    """Write and publish parts in processes of their own; return the CPU seconds and the peak in MiB of the second."""
    command = [sys.executable, "-m", "benchmarks.publishing"]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out")
        subprocess.run([*command, "--write", str(count), out], check=True)
        done = subprocess.run([*command, "--publish", out], check=True, capture_output=True, text=True)
    cpu_s, peak_mib = map(float, done.stdout.split())
    return cpu_s, peak_mib


def main() -> int:
    """Measure all numbers of parts; return 1 if publishing takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, nargs=3, default=[1000, 4000, 10_000])
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_parts(int(options.write[0]), Path(options.write[1]))
        return 0
    if options.publish:
        publish(options.publish)
        return 0
    seconds = []
    for count in options.parts:
        cpu_s, peak_mib = measure(count)
        seconds.append(cpu_s)
        print(f"{count:7,} parts: {cpu_s:6.1f} s of CPU, peak {peak_mib:.0f} MiB", flush=True)
    first, second = np.diff(seconds) / np.diff(options.parts)
    print(
        f"each further part: {1000 * first:.2f} ms, then {1000 * second:.2f} ms (at most {MOST_GROWTH} times as long)"
    )
    print(f"in all {seconds[-1]:.1f} s (at most {MOST_S:.0f})")
    return 0 if seconds[-1] <= MOST_S and second <= MOST_GROWTH * first else 1


if __name__ == "__main__":
    raise SystemExit(main())
