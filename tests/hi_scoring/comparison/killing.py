"""Comparisons that are killed: forks one, kills it at its n-th file system access, and resumes it.

Run as ``python -m tests.hi_scoring.comparison.killing FOLDER STRIDE``, stride 1 for every moment; prints how many were
tried. Two more are killed in the middle of a checkpoint, and by Ctrl-C. It is a separate process because it forks,
which no process with threads should do.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch

from datasetkit.hi_scoring.comparison.bench import Bench
from datasetkit.options.heads import AdapterOptions
from tests.hi_scoring.tuned import bench_of, compared, contents, opposed_examples, small, some_examples
from tests.killing import end_at, forked


@cache
def bench() -> Bench:
    """A bench with dropout, whose validation keeps a checkpoint other than the last; made once, before any fork."""
    return bench_of(
        adapter=AdapterOptions(rank=2, dropout=0.2),
        training=small(steps=6, batch=2, patience=1),
        validation=opposed_examples(),
        tests={"test": some_examples(1, first=20)},
    )


def run(out: Path) -> object:
    """One selection of heads."""
    return compared(bench(), out, ["top-heads:3"], [0])


def end_in_checkpoint(number: int) -> None:
    """Kill this process when a checkpoint is complete except for its state, which is written last."""
    begun = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal begun
        if event == "open" and str(arguments[0]).endswith("trainer_state.json") and arguments[1] == "w":
            begun += 1
            if begun == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def disturbed(folder: Path, before: Callable[[], object]) -> bool:
    """Kill a run and resume it; return whether it was killed at all."""
    expected, out = folder / "expected", folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    status = forked(partial(run, out), before)
    if status == 0:
        return False
    if status not in {-signal.SIGKILL, 130}:
        raise SystemExit(f"{before}: the run ended by itself with status {status}")
    if forked(partial(run, out)):
        raise SystemExit(f"{before}: the second run fails")
    if names := sorted({name for name, _ in contents(out).items() ^ contents(expected).items()}):
        raise SystemExit(f"{before}: {names} differ from an undisturbed run")
    return True


def main(folder: Path, stride: int) -> int:
    """Kill at every ``stride``-th moment; return how many were tried."""
    tried = 0
    while disturbed(folder, partial(end_at, 1 + stride // 2 + tried * stride, signal.SIGKILL, folder / "out")):
        tried += 1
    return tried


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    bench()
    if forked(partial(run, place / "expected")):
        raise SystemExit("the run fails without being killed")
    if not disturbed(place, partial(end_in_checkpoint, 2)):
        raise SystemExit("no second checkpoint was begun")
    if not disturbed(place, partial(end_at, 50, signal.SIGINT, place / "out")):
        raise SystemExit("the run has less than 50 moments")
    sys.stdout.write(f"{main(place, int(sys.argv[2]))}\n")
