"""How long each stage of a build is at work. Owns the clocks; who shows them decides how."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Seconds at work and items done, stage by stage; several threads may add to them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.items: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def timed(self, stage: str, items: int = 1) -> Iterator[None]:
        """Add the body's time to a stage, and its items where it ends well."""
        start = time.perf_counter()
        done = 0
        try:
            yield
            done = items
        finally:
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
                self.items[stage] = self.items.get(stage, 0) + done

    @property
    def rates(self) -> dict[str, float]:
        """Items a second of work, by stage in the order in which they were first heard of."""
        with self._lock:
            return {name: self.items[name] / spent for name, spent in self.seconds.items() if spent > 0}
