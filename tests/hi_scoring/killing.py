"""Scores that are killed: forks a run, kills it at its n-th file system access, and resumes it.

Run as ``python -m tests.hi_scoring.killing FOLDER STRIDE``, stride 1 for every moment; prints how many were tried. It
is a separate process because it forks, which no process with threads should do.
"""

from __future__ import annotations

import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import torch

from tests.hi_scoring.scored import contents, data_of, row, score
from tests.killing import end_at, forked

ROWS = [row(number) for number in range(10)] + [row(10, phrases=[])]
FRESH, OVER = "fresh", "over others"


def run(out: Path) -> object:
    return score(out, data_of(ROWS), positions=("response",))


def run_over(out: Path) -> object:
    return score(out, data_of(ROWS), positions=("response",), overwrite=True)


def main(folder: Path, stride: int) -> int:
    """Kill at every ``stride``-th moment; return how many were tried."""
    others, expected, out = folder / "others", folder / "expected", folder / "out"
    score(others, data_of(ROWS[:3], "others"), positions=("response",))
    run(expected)
    tried = 0
    for kind, how in ((FRESH, run), (OVER, run_over)):
        moment = 1
        while True:
            shutil.rmtree(out, ignore_errors=True)
            if kind == OVER:
                shutil.copytree(others, out)
            status = forked(partial(how, out), partial(end_at, moment, signal.SIGKILL, out))
            if status == 0:
                break
            if status != -signal.SIGKILL:
                raise SystemExit(f"{kind}, moment {moment}: the run ended by itself with status {status}")
            if forked(partial(how, out)):
                raise SystemExit(f"{kind}, moment {moment}: the second run fails")
            if contents(out) != contents(expected):
                raise SystemExit(f"{kind}, moment {moment}: the results differ from those of an undisturbed run")
            tried, moment = tried + 1, moment + stride
    return tried


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(f"{main(Path(sys.argv[1]), int(sys.argv[2]))}\n")
