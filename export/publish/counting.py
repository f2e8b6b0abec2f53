"""Bytes on their way to a dataset's readers, counted. Owns how pushes tell how far they are."""

from __future__ import annotations

import threading
from collections.abc import Callable

# Stage ("checking" or "sending"), bytes done, bytes in all.
OnProgress = Callable[[str, int, int], None]


def counter(stage: str, total: int, on_progress: OnProgress | None) -> Callable[[int], None]:
    """Give a function that is told new bytes, from any thread, and tells the bytes in all."""
    done = 0
    lock = threading.Lock()

    def count(new: int) -> None:
        nonlocal done
        with lock:
            done += new
            if on_progress is not None:
                on_progress(stage, done, total)

    return count
