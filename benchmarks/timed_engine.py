"""Engines with clocks. A module of its own, since builds import an engine by its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from datasetkit.runtime.engines.here import Here
from datasetkit.runtime.engines.pool import Pool
from datasetkit.runtime.engines.processes import Processes
from datasetkit.runtime.engines.protocol import Died, Done, Task, Work

# Of all runs, in order.
SECONDS: list[float] = []
CPU_SECONDS: list[float] = []  # of :class:`TimedHere`


class Timed(Pool[Any]):
    """An engine whose work is timed once all workers have started."""

    def start(self, work: Work) -> Any:
        """Start all workers, and wait for each of them."""
        hello = super().start(work)
        self._await_workers(all)
        return hello

    def run(self, next_task: Callable[[], Task | None], on_tell: Callable[[Task, Any], None]) -> Iterator[Done | Died]:
        """Do tasks, and note how long that took."""
        start = time.perf_counter()
        yield from super().run(next_task, on_tell)
        SECONDS.append(time.perf_counter() - start)


class TimedProcesses(Timed, Processes):
    """Processes with a clock."""

    def __init__(self, seats: Any, address: str | None = None) -> None:  # noqa: ARG002 - that of every engine
        super().__init__(seats)


class TimedHere(Here):
    """This process as the only worker, with clocks."""

    def __init__(self, seats: Any, address: str | None = None) -> None:  # noqa: ARG002 - that of every engine
        super().__init__(seats[0])

    def run(self, next_task: Callable[[], Task | None], on_tell: Callable[[Task, Any], None]) -> Iterator[Done | Died]:
        """Do tasks, and note how long that took, on the clock and of the processor."""
        start, cpu = time.perf_counter(), time.process_time()
        yield from super().run(next_task, on_tell)
        SECONDS.append(time.perf_counter() - start)
        CPU_SECONDS.append(time.process_time() - cpu)
