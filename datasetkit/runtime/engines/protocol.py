"""The protocol of engines. Owns tasks, what happens to them, and the places where workers run.

An engine starts workers, gives each of them one task after the other, and reports what became of it. It knows nothing
of what a task means: whoever starts it says what a worker does, chooses the tasks, and decides what follows when a
worker dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

Tell = Callable[[Any], None]
# Does one task; the second argument reports progress to the driver.
Do = Callable[[Any, Tell], Any]


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a worker runs.

    Args:
        number: number among the workers, from 0.
        device: torch device of its models; None for a worker without models.
        threads: number of threads that it may use.

    """

    number: int
    device: str | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work.

    Args:
        number: number of the task; no two tasks under way have the same.
        payload: what the worker is given; can be pickled, and small.

    """

    number: int
    payload: Any


@dataclass(frozen=True, slots=True)
class Done:
    """A task that is done, with what the worker returned."""

    task: Task
    result: Any


@dataclass(frozen=True, slots=True)
class Died:
    """A task whose worker ended before the task did; another worker has taken its seat.

    Args:
        task: the task.
        how: how the worker ended, in words ("killed by SIGKILL").

    """

    task: Task
    how: str


class Work(Protocol):
    """What workers do. Can be pickled, since workers are other processes, or on other machines."""

    def start(self, seat: Seat) -> tuple[Any, Do]:
        """Prepare a worker: load models, open files.

        Returns:
            what the worker says about itself, and the function that does its tasks.

        """
        ...


class Engine(Protocol):
    """Does tasks by workers; a context manager that ends all of them, however its body ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self, work: Work) -> Any:
        """Start the workers; return what the first one says about itself.

        Raises:
            EngineError: workers cannot be started, or die while they start.
            Exception: what a worker raised while it started.

        """
        ...

    def run(self, next_task: Callable[[], Task | None], on_tell: Callable[[Task, Any], None]) -> Iterator[Done | Died]:
        """Do tasks, and yield what becomes of each, in the order in which they end.

        Args:
            next_task: returns the next task, or None if there is none now. It is asked again after each result, so a
                task can be given again after its worker died.
            on_tell: called in this thread with what workers report on their tasks. A report replaces earlier ones of
                its task, so that an engine may leave some out.

        Raises:
            EngineError: no worker can be kept alive.
            Exception: what a worker raised; its traceback there is the cause.

        """
        ...
