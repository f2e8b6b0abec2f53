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
TASKS_PER_SECOND: list[float] = []  # of :class:`Timed`
SECONDS: list[float] = []  # of :class:`TimedHere`, as is the next
CPU_SECONDS: list[float] = []


class Timed(Pool[Any]):
    """An engine whose work is timed once each worker has done a task, for which it loads the words of captions."""

    def start(self, work: Work) -> Any:
        """Start all workers, and wait for each of them."""
        hello = super().start(work)
        self._await_workers(all)
        return hello

    def run(self, next_task: Callable[[], Task | None], on_tell: Callable[[Task, Any], None]) -> Iterator[Done | Died]:
        """Do one task per worker, then the others, and note how many of these were done per second."""
        first = [task for _ in self._workers if (task := next_task()) is not None]
        yield from super().run(lambda: first.pop() if first else None, on_tell)
        start, count = time.perf_counter(), 0
        for event in super().run(next_task, on_tell):
            count += 1
            yield event
        TASKS_PER_SECOND.append(count / (time.perf_counter() - start))


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
