"""Ablations that are killed: forks a run, kills it at its n-th file system access, and resumes it.

Run as ``python -m tests.hi_scoring.ablation.killing FOLDER STRIDE``, stride 1 for every moment; prints how many were
tried. It is a separate process because it forks, which no process with threads should do.
"""

from __future__ import annotations

import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import torch

from tests.hi_scoring.ablation.runs import PLANTED, bench_of, contents, ranking_of, run
from tests.killing import end_at, forked

OPTIONS = {"modes": ("zero",), "draws": 2}
FRESH, OVER, ANEW = "fresh", "over others", "anew"


def main(folder: Path, stride: int) -> int:
    """Kill at every ``stride``-th moment; return how many were tried."""
    ranking, bench = ranking_of(folder, PLANTED), bench_of()
    others, expected, out = folder / "others", folder / "expected", folder / "out"
    run(others, ranking, bench_of(batch=4), **OPTIONS)
    run(expected, ranking, bench, **OPTIONS)
    before = {OVER: others, ANEW: expected}
    tried = 0
    for kind in (FRESH, OVER, ANEW):
        how = partial(run, out, ranking, bench, overwrite=kind != FRESH, **OPTIONS)
        moment = 1
        while True:
            shutil.rmtree(out, ignore_errors=True)
            if kind in before:
                shutil.copytree(before[kind], out)
            status = forked(how, partial(end_at, moment, signal.SIGKILL, out))
            if status == 0:
                break
            if status != -signal.SIGKILL:
                raise SystemExit(f"{kind}, moment {moment}: the run ended by itself with status {status}")
            if forked(how):
                raise SystemExit(f"{kind}, moment {moment}: the second run fails")
            if contents(out) != contents(expected):
                raise SystemExit(f"{kind}, moment {moment}: the results differ from those of an undisturbed run")
            tried, moment = tried + 1, moment + stride
    return tried


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(f"{main(Path(sys.argv[1]), int(sys.argv[2]))}\n")
