"""Processes started by torchrun or ``accelerate launch``. Owns what is known about them without importing torch."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Return whether this process reports for all."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))
