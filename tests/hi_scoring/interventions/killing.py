"""Knockouts that are killed: forks a run, kills it at its n-th file system access, and resumes it.

Run as ``python -m tests.hi_scoring.interventions.killing FOLDER STRIDE``, stride 1 for every moment; prints how many
were tried. It is a separate process because it forks, which no process with threads should do.
"""

from __future__ import annotations

import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import torch

from datasetkit.hi_scoring.interventions import knockout_run
from tests.hi_scoring.interventions.running import contents, knock, questions_of, rows
from tests.killing import end_at, forked


def run(out: Path) -> object:
    given = rows(3)
    given[1]["image"] = {"bytes": b"no image"}
    return knock(out, questions_of(given))


def main(folder: Path, stride: int) -> int:
    """Kill at every ``stride``-th moment; return how many were tried."""
    expected, out = folder / "expected", folder / "out"
    run(expected)
    tried, moment = 0, 1
    while True:
        shutil.rmtree(out, ignore_errors=True)
        status = forked(partial(run, out), partial(end_at, moment, signal.SIGKILL, out))
        if status == 0:
            return tried
        if status != -signal.SIGKILL:
            raise SystemExit(f"moment {moment}: the run ended by itself with status {status}")
        if forked(partial(run, out)):
            raise SystemExit(f"moment {moment}: the second run fails")
        if contents(out) != contents(expected):
            raise SystemExit(f"moment {moment}: the results differ from those of an undisturbed run")
        tried, moment = tried + 1, moment + stride


if __name__ == "__main__":
    torch.set_num_threads(1)
    knockout_run.PART = 2
    sys.stdout.write(f"{main(Path(sys.argv[1]), int(sys.argv[2]))}\n")
