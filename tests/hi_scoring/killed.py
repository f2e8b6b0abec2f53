"""Programs that kill what they run, started from tests. Owns how they are started, and that they must succeed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def moments_tried(program: str, folder: Path, stride: int) -> int:
    """Let a program kill a run at every ``stride``-th moment and go on with it; give how many moments it tried."""
    done = subprocess.run(
        [sys.executable, "-m", program, str(folder), str(stride)],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
