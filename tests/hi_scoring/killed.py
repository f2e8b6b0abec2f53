"""Programs that kill what they run, started from tests. Owns how many moments they tell that they tried."""

from __future__ import annotations

from pathlib import Path

from tests.processes import output_of


def moments_tried(program: str, folder: Path, stride: int) -> int:
    """Let a program kill a run at every ``stride``-th moment and go on with it; give how many moments it tried."""
    return int(output_of(program, folder, stride))
