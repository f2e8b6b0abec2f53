"""Working time of each stage of a build. Owns the clocks, not their display."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds of work and items done, by stage.
Snapshot = dict[str, tuple[float, int]]


class Stages:
    """Working seconds and items done, per stage; thread-safe."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.items: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def timed(self, stage: str, items: int = 1) -> Iterator[None]:
        """Add the time of the body to a stage, and its items unless it raises."""
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
        """Items per second of work, per stage, in the order of their first use."""
        with self._lock:
            return {name: self.items[name] / spent for name, spent in self.seconds.items() if spent > 0}

    def snapshot(self) -> Snapshot:
        """Return what was counted so far."""
        with self._lock:
            return {name: (spent, self.items[name]) for name, spent in self.seconds.items()}

    def take(self) -> Snapshot:
        """Return what was counted since the last call, and start anew."""
        with self._lock:
            found = {name: (spent, self.items[name]) for name, spent in self.seconds.items()}
            self.seconds.clear()
            self.items.clear()
        return found

    def add(self, other: Snapshot) -> None:
        """Add what was counted elsewhere."""
        with self._lock:
            for name, (spent, items) in other.items():
                self.seconds[name] = self.seconds.get(name, 0.0) + spent
                self.items[name] = self.items.get(name, 0) + items
