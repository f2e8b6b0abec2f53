"""Comparisons that are killed: forks one, ends it at its n-th touch of the file system, and goes on with it.

Run as ``python -m tests.hi_scoring.comparison.killing FOLDER SIGNAL:STRIDE ...``, stride 1 for every moment; prints how
many moments were tried, and how many of them left a checkpoint that was cut short. It is a process of its own because
it forks, which no process with threads should do.
"""

from __future__ import annotations

import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import torch

from hi_scoring.tuning.adapters import AdapterOptions
from tests.datasetkit.killing import end_at, forked
from tests.hi_scoring.tuned import bench_of, compared, contents, small, some_examples


def run(out: Path) -> object:
    """One selection of heads, with dropout, and a validation that decides which checkpoint is kept."""
    bench = bench_of(
        adapter=AdapterOptions(rank=2, dropout=0.2),
        training=small(steps=6, batch=2, patience=2),
        validation=some_examples(1, first=40),
        tests={"test": some_examples(1, first=20)},
    )
    return compared(bench, out, ["top-heads:3"], [0])


def main(folder: Path, how: signal.Signals, stride: int) -> tuple[int, int]:
    """Kill at every ``stride``-th moment; give how many were tried, and how many cut a checkpoint short."""
    expected, out = folder / "expected", folder / "out"
    if not expected.exists() and forked(partial(run, expected)):
        raise SystemExit("the run fails without being killed")
    tried = cut = 0
    while True:
        moment = 1 + tried * stride
        shutil.rmtree(out, ignore_errors=True)
        status = forked(partial(run, out), partial(end_at, moment, how, out))
        if status == 0:
            return tried, cut
        if status not in {-how, 130}:
            raise SystemExit(f"moment {moment}: the run ended by itself with status {status}")
        cut += any(not (path / "trainer_state.json").exists() for path in out.rglob("checkpoint-*"))
        if forked(partial(run, out)):
            raise SystemExit(f"moment {moment}: the second run fails")
        there, wanted = contents(out), contents(expected)
        if names := sorted({name for name, _ in there.items() ^ wanted.items()}):
            raise SystemExit(f"moment {moment}: {names} differ from an undisturbed run")
        tried += 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    for task in sys.argv[2:]:
        named, step = task.split(":")
        sys.stdout.write("{} {}\n".format(*main(Path(sys.argv[1]), signal.Signals[named], int(step))))
