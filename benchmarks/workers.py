"""How much of the work of ``verify`` and of each export is parted, and what workers cost.

    python -m benchmarks.workers [--count 600]

The same dataset is verified and exported in one process, and then by two workers, with the same result. What the driver
still does then is the share that more workers do not make shorter. CPU time is compared, as other programs change the
time on the clock; that of workers includes their start. The exit code is 1 if less than ``GATE`` of the work of one
process is parted, or if bytes differ.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.coco_copies import write_copies
from datasetkit.api.built import Built
from datasetkit.core.files import file_sha256
from datasetkit.export.formats import FORMATS
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build

GATE = 0.8
WORKERS = 2


class Cpu(NamedTuple):
    """CPU time in seconds, of this process and of its children."""

    driver: float
    children: float


def run_task(built: Built, task: str, out: Path, workers: int) -> tuple[Cpu, object]:
    """Verify, or export to a folder; return the CPU time and the result."""
    before, driver = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    if task == "verify":
        faults = built.verify(engine="processes", workers=workers).faults
    else:
        built.export(task, out / task, engine="processes", workers=workers)
    driver, after = time.process_time() - driver, resource.getrusage(resource.RUSAGE_CHILDREN)
    children = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cpu(driver, children), faults if task == "verify" else digests(out / task)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def main() -> int:
    """Compare one process with workers; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=600)
    count = parser.parse_args().count
    is_met = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_copies(count, folder / "in")
        source = {"name": "coco", "images": folder / "in/images"}
        source |= {key: folder / f"in/{key}.json" for key in ("instances", "captions")}
        build(Recipe.checked({"source": source, "part_size": max(count // 6, 1)}), RunOptions(out=folder / "built"))
        built = Built(folder / "built")
        for task in ("verify", *FORMATS.names):
            run_task(built, task, folder / "first", 1)  # imports what is needed, and fills caches
            one, result = run_task(built, task, folder / "one", 1)
            several, same = run_task(built, task, folder / "several", WORKERS)
            share = 1 - several.driver / one.driver
            is_met &= share >= GATE and result == same
            alone, driver, children = (1000 * cpu / count for cpu in (one.driver, several.driver, several.children))
            print(
                f"{task:12} {alone:5.1f} ms per record in one process; {share:.0%} parted (at least {GATE:.0%}); "
                f"{WORKERS} workers {children:5.1f} ms, driver {driver:.2f} ms; "
                f"{'equal' if result == same else 'OTHER'} results",
                flush=True,
            )
    return int(not is_met)


if __name__ == "__main__":
    raise SystemExit(main())
