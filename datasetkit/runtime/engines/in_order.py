"""Results in the order of their tasks, whichever worker is quicker. Owns what follows when a worker dies on a task.

Builds have a policy of their own, ``datasetkit.pipeline.schedule``: they can leave out the records that end a worker.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from datasetkit.runtime.engines.protocol import Died, Done, Engine, Task
from datasetkit.runtime.progress import OnProgress

MOST_DEATHS = 3


def in_order(
    engine: Engine, payloads: Iterable[Any], on_tell: Callable[[Task, Any], None], ahead: int
) -> Iterator[Done | Died]:
    """Do one task per payload, and yield what became of each, in the order of the payloads.

    A task whose worker died is given to another one; after the third death it is given up, and
    :class:`~datasetkit.runtime.engines.protocol.Died` is yielded.

    Args:
        engine: does the tasks; was started.
        payloads: read one by one, as workers ask for tasks.
        on_tell: called with what workers report on their tasks.
        ahead: largest number of tasks, at least 1, that are given before the result of the first of them is taken; it
            limits the number of results that wait for an earlier one.

    Raises:
        EngineError: no worker can be kept alive.
        Exception: what a worker raised, or what reading the payloads raised.

    """
    tasks = (Task(number, payload) for number, payload in enumerate(payloads))
    again: deque[Task] = deque()
    deaths: Counter[int] = Counter()
    ended: dict[int, Done | Died] = {}
    first = given = 0

    def next_task() -> Task | None:
        nonlocal given
        if again:
            return again.popleft()
        task = next(tasks, None) if given < first + ahead else None
        given += task is not None
        return task

    for event in engine.run(next_task, on_tell):
        number = event.task.number
        if isinstance(event, Died):
            deaths[number] += 1
            if deaths[number] < MOST_DEATHS:
                again.append(event.task)
                continue
        ended[number] = event
        while first in ended:
            yield ended.pop(first)
            first += 1


class TaskProgress:
    """Adds up the amounts that tasks have done, those under way included.

    Args:
        stage: name of the work.
        total: amount of all tasks.
        on_progress: called with the stage, the amount done, and the total.

    """

    def __init__(self, stage: str, total: int, on_progress: OnProgress | None) -> None:
        self._stage = stage
        self._total = total
        self._on_progress = on_progress
        self._done = 0
        self._under_way: dict[int, int] = {}

    def tell(self, task: Task, amount: int) -> None:
        """Count what a task that is under way has done."""
        self._under_way[task.number] = amount
        self._report()

    def done(self, task: Task, amount: int) -> None:
        """Count a task that has ended."""
        self._under_way.pop(task.number, None)
        self._done += amount
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._stage, self._done + sum(self._under_way.values()), self._total)
