"""How builds from given masks scale from one worker to two, by engine.

    python -m benchmarks.engines [--count 1200] [--ray]

Start-up, planning and publishing are excluded: what is timed is the work that is parted, from the moment that each
worker has built a part, for which it loads the words of captions, to the last part. Runs with one and with two workers
alternate, and the fastest of each counts, as other programs only slow them down. All builds must have the same bytes.
The exit code is 1 if a gate fails.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.coco_copies import write_copies
from benchmarks.timed_engine import TASKS_PER_SECOND
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build

GATE = 1.8
PARTS = 12  # what is left without the first part of each worker is shared equally


def parts_per_second(recipe: Recipe, out: Path, engine: str, workers: int) -> float:
    """Build once; return the rate of the parted work."""
    build(recipe, RunOptions(out=out, engine=engine, workers=workers))
    return TASKS_PER_SECOND.pop()


def main() -> int:
    """Compare one worker with two; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="compare actors of Ray, too")
    options = parser.parse_args()
    engines = {"processes": "benchmarks.timed_engine:TimedProcesses"}
    if options.ray:
        engines["ray"] = "benchmarks.timed_ray:TimedRay"
    is_met = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_copies(options.count, folder / "in")
        source = {"name": "coco", "images": folder / "in/images"}
        source |= {key: folder / f"in/{key}.json" for key in ("instances", "captions")}
        recipe = Recipe.checked({"source": source, "part_size": max(options.count // PARTS, 1)})
        digests = set()
        for engine, path in engines.items():
            fastest = {1: 0.0, 2: 0.0}
            for repeat in range(options.repeats):
                for workers in fastest:
                    out = folder / f"{engine}-{workers}-{repeat}"
                    fastest[workers] = max(fastest[workers], parts_per_second(recipe, out, path, workers))
                    digests.add((out / "manifest.json").read_bytes())
            ratio = fastest[2] / fastest[1]
            is_met &= ratio >= GATE
            rates = ", ".join(
                f"{workers}: {rate * options.count / PARTS:.0f} records/s" for workers, rate in fastest.items()
            )
            print(f"{engine}: {rates}; ratio {ratio:.2f} (at least {GATE})")
        print(f"{len(digests)} different manifests of all builds (1)")
    return int(not is_met or len(digests) > 1)


if __name__ == "__main__":
    raise SystemExit(main())
