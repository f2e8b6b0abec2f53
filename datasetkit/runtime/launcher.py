"""Processes that torchrun or ``accelerate launch`` started together. Owns what is known of them before torch is."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Return whether this process speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """Return how many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))
