"""Peak memory of complete builds of 1,000, 10,000 and 100,000 tiny images, of driver and workers. Linux only.

    python -m benchmarks.memory [--sizes 1000 10000 100000]

From ``coco`` with two worker processes, from ``folder`` in one process, and an update of that after one image changed.
A source holds an index of its entries, in the driver and in each worker; its size is measured apart. Without it, a peak
may grow by at most 1.3 times from the second largest to the largest size; the exit status is 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.tiny_images import source_options, write_tiny
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.opening import open_source

MIB = 2**20
MOST_GROWTH = 1.3
_EVERY_S = 0.05


def peak_bytes(*arguments: str) -> tuple[int, int]:
    """Run ``datasetkit`` with these arguments; return the peak resident sizes of its process and of its largest worker.

    The second one is 0 without worker processes.
    """
    code = f"import sys; sys.argv = ['datasetkit', *{arguments!r}]; from datasetkit.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    driver = worker = 0
    while process.poll() is None:
        driver = max(driver, resident_bytes(process.pid, "VmHWM"))
        worker = max([worker, *(resident_bytes(pid, "VmHWM") for pid in _workers(process.pid))])
        time.sleep(_EVERY_S)
    if process.returncode:
        raise SystemExit(f"datasetkit {' '.join(arguments)} ended with status {process.returncode}")
    return driver, worker


def resident_bytes(pid: int, name: str) -> int:
    """Return the resident size of a process, ``VmRSS`` now or ``VmHWM`` at its peak; 0 if it has ended."""
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _workers(pid: int) -> list[int]:
    children: list[str] = []
    with suppress(OSError):  # a thread has just ended
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            children += path.read_text().split()
    return [int(child) for child in children if _is_worker(child)]


def _is_worker(pid: str) -> bool:
    """Return whether a process has become a worker: between fork and exec, it has the memory of its parent."""
    with suppress(OSError):
        return b"engines.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def print_index_bytes(kind: str, folder: Path) -> None:
    """Print by how many bytes a process grows when it opens a source and reads its entries once."""
    recipe = Recipe.checked({"source": source_options(kind, folder)})
    open_source(Recipe.checked({"source": source_options(kind, folder.parent / "one")}))  # imports what it needs
    before = resident_bytes(os.getpid(), "VmRSS")
    source = open_source(recipe).source
    source.fingerprint()
    for _ in source.entries():
        pass
    print(resident_bytes(os.getpid(), "VmRSS") - before)


def index_bytes(kind: str, folder: Path) -> int:
    """Return the size of the index of a source, bytes."""
    command = [sys.executable, "-m", "benchmarks.memory", "--index", kind, str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(count: int, folder: Path) -> dict[str, tuple[int, int]]:
    """Build ``count`` records; return the peak and the size of the index in it, bytes, by name."""
    write_tiny(1, folder / "one")
    data = folder / "data"
    write_tiny(count, data)
    options = source_options("coco", data)
    coco = [text for name in ("images", "instances", "captions") for text in (f"--{name}", str(options[name]))]
    common = ("--part-size", "500", "--out")
    driver, worker = peak_bytes("build", "coco", *coco, *common, str(folder / "coco"), "--workers", "2")
    index = index_bytes("coco", data)
    found = {"coco, driver": (driver, index), "coco, worker": (worker, index)}
    index = index_bytes("folder", data)
    command = ("build", "folder", str(data / "images"), *common, str(folder / "folder"), "--workers", "1")
    found["folder"] = peak_bytes(*command)[0], index
    with (data / "images" / "000000.jpg").open("ab") as image:
        image.write(b"changed")
    found["folder, update"] = peak_bytes(*command, "--update")[0], index
    return found


def main() -> int:
    """Measure all sizes; return 1 if memory grows too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--index", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.index:
        print_index_bytes(options.index[0], Path(options.index[1]))
        return 0
    found = []
    for count in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(count, Path(folder)))
        for name, (peak, index) in found[-1].items():
            print(f"{count:8,} records  {name:15} {peak / MIB:6.0f} MiB, of which index {index / MIB:4.0f}", flush=True)
    if len(found) < 2:
        return 0
    is_good = True
    for name, (peak, index) in found[-1].items():
        growth = (peak - index) / (found[-2][name][0] - found[-2][name][1])
        is_good = is_good and growth <= MOST_GROWTH
        print(f"{name:15} {growth:.2f} times without the index (at most {MOST_GROWTH})")
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
