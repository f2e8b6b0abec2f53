"""How far long work is. Owns the type of what is called with it, and the count of bytes from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

# What is being done, how much of it is done, and of how much.
OnProgress = Callable[[str, int, int], None]


def counter(stage: str, total: int, on_progress: OnProgress | None) -> Callable[[int], None]:
    """Make a function that is called with new bytes, from any thread, and reports the bytes in all."""
    done = 0
    lock = threading.Lock()

    def count(new: int) -> None:
        nonlocal done
        with lock:
            done += new
            if on_progress is not None:
                on_progress(stage, done, total)

    return count
