"""Working time of each stage of a build. Owns the clocks, the rates and the busy shares, not their display."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Work:
    """Work of one stage.

    Args:
        seconds: of work.
        items: done.
        lanes: number of items, or of batches on a device, that the stage can work on at once.
        on_device: whether it runs on the device, whose stages share one lane.
        halvings: how often a batch was halved because memory ran out.

    """

    seconds: float = 0.0
    items: int = 0
    lanes: int = 1
    on_device: bool = False
    halvings: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was counted; the sum of two is what both counted, one after the other or in two workers.

    Args:
        elapsed: seconds in which it was counted.
        stages: work by stage, in the order of their first use.

    """

    elapsed: float = 0.0
    stages: Mapping[str, Work] = field(default_factory=dict)

    def __add__(self, other: Snapshot) -> Snapshot:
        stages = dict(self.stages)
        for name, work in other.stages.items():
            known = stages.get(name, Work())
            stages[name] = replace(
                work,
                seconds=known.seconds + work.seconds,
                items=known.items + work.items,
                halvings=known.halvings + work.halvings,
            )
        return Snapshot(self.elapsed + other.elapsed, stages)

    @property
    def rates(self) -> dict[str, float]:
        """Items per second that each stage of a worker does if it never waits."""
        return {name: work.lanes * work.items / work.seconds for name, work in self.stages.items() if work.seconds > 0}

    @property
    def busy(self) -> dict[str, float]:
        """Share of the elapsed time in which the lanes of each stage worked, range [0, 1]."""
        return {
            name: min(work.seconds / (work.lanes * self.elapsed), 1.0)
            for name, work in self.stages.items()
            if work.seconds > 0
        }

    @property
    def device_busy(self) -> float | None:
        """Share of the elapsed time in which the device worked, range [0, 1]; None without work on one."""
        shares = [share for name, share in self.busy.items() if self.stages[name].on_device]
        return min(sum(shares), 1.0) if shares else None

    def as_json(self) -> dict[str, Any]:
        """Return all counters as plain values."""
        rates, busy = self.rates, self.busy
        return {
            "elapsed_s": round(self.elapsed, 3),
            "device_busy": _rounded(self.device_busy),
            "stages": {
                name: {
                    "items": work.items,
                    "seconds": round(work.seconds, 3),
                    "lanes": work.lanes,
                    "items_per_s": _rounded(rates.get(name)),
                    "busy": _rounded(busy.get(name)),
                    "halvings": work.halvings,
                }
                for name, work in self.stages.items()
            },
        }


class Stages:
    """Counts the work of stages; thread-safe."""

    def __init__(self) -> None:
        self._stages: dict[str, Work] = {}
        self._began = time.perf_counter()
        self._lock = threading.Lock()

    def declare(self, stage: str, lanes: int, *, on_device: bool = False) -> None:
        """State how many lanes a stage has, which is 1 otherwise, and whether it runs on the device."""
        with self._lock:
            self._stages[stage] = replace(self._stages.get(stage, Work()), lanes=lanes, on_device=on_device)

    @contextmanager
    def timed(self, stage: str, items: int = 1) -> Iterator[None]:
        """Add the time of the body to a stage, and its items unless it raises."""
        start = time.perf_counter()
        done = 0
        try:
            yield
            done = items
        finally:
            self.count(stage, time.perf_counter() - start, done)

    def count(self, stage: str, seconds: float, items: int, halvings: int = 0) -> None:
        """Add work to a stage."""
        with self._lock:
            known = self._stages.get(stage, Work())
            self._stages[stage] = replace(
                known,
                seconds=known.seconds + seconds,
                items=known.items + items,
                halvings=known.halvings + halvings,
            )

    def snapshot(self) -> Snapshot:
        """Return what was counted so far."""
        with self._lock:
            return self._snapshot()

    def take(self) -> Snapshot:
        """Return what was counted since the last call, and start anew."""
        with self._lock:
            found = self._snapshot()
            self._stages = {
                name: replace(work, seconds=0.0, items=0, halvings=0) for name, work in self._stages.items()
            }
            self._began = time.perf_counter()
        return found

    def _snapshot(self) -> Snapshot:
        return Snapshot(time.perf_counter() - self._began, dict(self._stages))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
