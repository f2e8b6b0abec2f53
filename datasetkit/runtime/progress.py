"""Progress of long work. Owns the type of progress callbacks, and the count of bytes from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

# Stage, amount done, and total amount.
OnProgress = Callable[[str, int, int], None]


def counter(stage: str, total: int, on_progress: OnProgress | None) -> Callable[[int], None]:
    """Return a function that takes numbers of new bytes, from any thread, and reports their sum."""
    done = 0
    lock = threading.Lock()

    def count(new: int) -> None:
        nonlocal done
        with lock:
            done += new
            if on_progress is not None:
                on_progress(stage, done, total)

    return count
