"""Start the programs that kill runs, from tests. Owns reading how many moments they tried."""

from __future__ import annotations

from pathlib import Path

from tests.processes import output_of


def moments_tried(program: str, folder: Path, stride: int) -> int:
    """Let a program kill and resume a run at every ``stride``-th moment; return how many moments it tried."""
    return int(output_of(program, folder, stride))
