"""A pool of workers. Owns who is given which task, what messages of workers mean, and what follows their deaths.

An engine that starts workers somewhere builds on it: it says how one is started, and where its messages come from.
They are ("ready", what the worker says about itself), ("told", progress), ("done", result), ("raised", error and
traceback) and ("log", (logger, level, text)).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from datasetkit.core.errors import EngineError
from datasetkit.runtime.engines.protocol import Died, Done, Seat, Task, Work
from datasetkit.runtime.engines.transport import Message, WorkerTraceback, packed

logger = logging.getLogger(__name__)

# Workers that die in one seat, one after the other, while they start: then no other will do better.
_MOST_START_DEATHS = 3


class Worker(ABC):
    """A worker in a seat.

    Args:
        seat: where it runs.

    Attributes:
        is_ready: whether it has started.
        task: what it was given and has not finished; None if it is idle.
        start_deaths: how many workers before it died in this seat while they started.

    """

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.is_ready = False
        self.task: Task | None = None
        self.start_deaths = 0

    @abstractmethod
    def give(self, payload: Any) -> None:
        """Hand over a task; that the worker has died is not an error here."""

    @abstractmethod
    def end(self, *, at_once: bool) -> None:
        """Ask the worker to end: after its task, or at once."""

    @abstractmethod
    def join(self) -> str:
        """Wait until the worker has ended; return how, in words ("killed by SIGKILL")."""


_Worker = TypeVar("_Worker", bound=Worker)


class Pool(ABC, Generic[_Worker]):
    """An engine whose workers are elsewhere, one in each seat.

    Args:
        seats: one per worker.

    """

    _advice: ClassVar[str]

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = tuple(seats)
        self._workers: list[_Worker] = []
        self._work = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end(at_once=kind is not None)
        for worker in self._workers:
            worker.join()
        self._workers = []

    def start(self, work: Work) -> Any:
        """Start all workers; see :class:`~datasetkit.runtime.engines.protocol.Engine`."""
        self._work = packed(work)
        self._workers = [self._start_worker(seat) for seat in self._seats]
        return self._await_workers(any)

    def _await_workers(self, enough: Callable[[Iterable[bool]], bool]) -> Any:
        """Wait until enough workers are ready, ``any`` or ``all``; return what the last of them says about itself."""
        hello: Any = None
        while not enough(worker.is_ready for worker in self._workers):
            for worker, message in self._messages():
                if message is None:
                    self._replace(worker)
                elif message[0] == "ready":
                    worker.is_ready, hello = True, message[1]
        return hello

    def run(self, next_task: Callable[[], Task | None], on_tell: Callable[[Task, Any], None]) -> Iterator[Done | Died]:
        """Do tasks; see :class:`~datasetkit.runtime.engines.protocol.Engine`."""
        held: Task | None = None
        while True:
            for worker in self._workers:
                if worker.is_ready and worker.task is None:
                    task, held = held or next_task(), None
                    if task is None:
                        break
                    worker.task = task
                    worker.give(task.payload)
            if not any(worker.task for worker in self._workers):
                held = held or next_task()
                if held is None:
                    return
            for worker, message in self._messages():
                task = worker.task
                if message is None:
                    how = self._replace(worker)
                    if task is not None:
                        yield Died(task, how)
                elif message[0] == "ready":
                    worker.is_ready = True
                elif message[0] == "told" and task is not None:
                    on_tell(task, message[1])
                elif message[0] == "done" and task is not None:
                    worker.task = None
                    yield Done(task, message[1])

    @abstractmethod
    def _start_worker(self, seat: Seat) -> _Worker:
        """Start a worker, which is told ``self._work``."""

    @abstractmethod
    def _receive(self) -> Iterator[tuple[_Worker, Message | None]]:
        """Wait for messages, and yield them with their worker; None for a worker that died."""

    def _messages(self) -> Iterator[tuple[_Worker, Message | None]]:
        """Yield messages, except errors, which are raised, and records of logs, which are logged."""
        for worker, message in self._receive():
            if message is not None and message[0] == "raised":
                error, trace = message[1]
                raise error from WorkerTraceback(trace)
            if message is not None and message[0] == "log":
                name, level, text = message[1]
                logging.getLogger(name).log(level, "%s", text)
                continue
            yield worker, message

    def _replace(self, worker: _Worker) -> str:
        """Start another worker in the seat of one that died; return how it died."""
        how = worker.join()
        deaths = 0 if worker.is_ready else worker.start_deaths + 1
        if deaths >= _MOST_START_DEATHS:
            raise EngineError(f"{deaths} workers ended while they started (the last: {how}); {self._advice}")
        logger.warning("worker %d was %s; another one takes its place", worker.seat.number, how)
        other = self._start_worker(worker.seat)
        other.start_deaths = deaths
        self._workers[self._workers.index(worker)] = other
        return how
