"""Peak memory of complete builds at 1,000 and 10,000 records, from ``folder`` and from ``coco``.

    python -m benchmarks.memory [--small 1000] [--large 10000]

The folder build must stay within 10 %; the coco build may grow by at most twice the growth of the annotation files.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.coco_copies import write_copies

MIB = 2**20


def peak_bytes(*arguments: str) -> int:
    """Run ``datasetkit`` with these arguments in a separate process and return its peak resident size."""
    code = f"import sys; sys.argv = ['datasetkit', *{arguments!r}]; from datasetkit.cli import main; main()"
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_WRONLY, 0) for descriptor in (1, 2)],
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"datasetkit {' '.join(arguments)} ended with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * 1024


def measure(count: int, folder: Path) -> dict[str, int]:
    """Build ``count`` records from both sources; return peaks and the size of the annotation files, bytes."""
    write_copies(count, folder)
    images, instances, captions = folder / "images", folder / "instances.json", folder / "captions.json"
    coco = ("--images", str(images), "--instances", str(instances), "--captions", str(captions))
    return {
        "folder": peak_bytes("build", "folder", str(images), "--out", str(folder / "from_folder")),
        "coco": peak_bytes("build", "coco", *coco, "--out", str(folder / "from_coco")),
        "annotations": instances.stat().st_size + captions.stat().st_size,
    }


def main() -> None:
    """Measure both sizes and print the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--large", type=int, default=10000)
    options = parser.parse_args()
    peaks = {}
    for count in (options.small, options.large):
        with tempfile.TemporaryDirectory() as folder:
            peaks[count] = measure(count, Path(folder) / "data")
        shown = ", ".join(f"{name} {value / MIB:.0f} MiB" for name, value in peaks[count].items())
        print(f"{count:6,} records: {shown}", flush=True)
    small, large = peaks[options.small], peaks[options.large]
    grown = {name: large[name] - small[name] for name in small}
    print(f"folder: {large['folder'] / small['folder']:.3f} times (at most 1.10)")
    print(f"coco:   grew by {grown['coco'] / grown['annotations']:.2f} of the annotation files' growth (at most 2)")


if __name__ == "__main__":
    main()
