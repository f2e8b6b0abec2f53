"""The engine ``processes``: workers are processes on this machine. Owns their start, their messages and their end.

Each worker is ``python -m datasetkit.runtime.engines.worker`` with a socket to this process, so that a script that
builds needs no ``if __name__ == "__main__"``. A worker ends as soon as this process does, however it ends: its socket
closes.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from datasetkit.core.errors import EngineError
from datasetkit.runtime.children import how_ended, start_child
from datasetkit.runtime.engines.protocol import Died, Done, Seat, Task, Work
from datasetkit.runtime.engines.transport import WorkerTraceback

logger = logging.getLogger(__name__)

# Workers that die one after the other while they start: then no other will do better.
_MOST_START_DEATHS = 3


class Processes:
    """Does tasks in processes on this machine.

    Args:
        seats: one per process.

    """

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = tuple(seats)
        self._workers: list[_Worker] = []
        self._work = b""
        self._start_deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self._workers:
            worker.end(at_once=kind is not None)
        for worker in self._workers:
            worker.join()
        self._workers = []

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def start(self, work: Work) -> Any:
        """Start all workers; see :class:`~datasetkit.runtime.engines.protocol.Engine`."""
        self._work = pickle.dumps(work)
        self._workers = [_Worker(seat, self._work) for seat in self._seats]
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
                    worker.give(task)
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

    def _messages(self) -> Iterator[tuple[_Worker, tuple[str, Any] | None]]:
        """Wait for messages, and yield them with their worker; None for a worker that died."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait([*by_connection]):
            worker = by_connection[connection]  # type: ignore[index] # only connections are waited for
            message = worker.receive()
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
        self._start_deaths = 0 if worker.is_ready else self._start_deaths + 1
        if self._start_deaths >= _MOST_START_DEATHS:
            raise EngineError(
                f"{self._start_deaths} worker processes ended while they started (the last: {how}); give fewer "
                "--workers if memory is short, or --workers 1 to see what happens in one process"
            )
        logger.warning("worker process %d was %s; another one takes its place", worker.seat.number, how)
        self._workers[self._workers.index(worker)] = _Worker(worker.seat, self._work)
        return how


class _Worker:
    """A process in a seat.

    Attributes:
        connection: to the process.
        is_ready: whether it has started.
        task: what it was given and has not finished; None if it is idle.

    """

    def __init__(self, seat: Seat, work: bytes) -> None:
        self.seat = seat
        self.is_ready = False
        self.task: Task | None = None
        here, there = socket.socketpair()
        with there:
            self._process = start_child("datasetkit.runtime.engines.worker", there.fileno(), threads=seat.threads)
        self.connection = Connection(here.detach())
        with contextlib.suppress(OSError):  # it died at once; reading will tell
            self.connection.send((sys.path, seat))
            self.connection.send_bytes(work)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def give(self, task: Task) -> None:
        """Hand over a task."""
        self.task = task
        with contextlib.suppress(OSError):  # it died; reading will tell
            self.connection.send(task.payload)

    def receive(self) -> tuple[str, Any] | None:
        """Return the next message; None if the process has ended."""
        try:
            message: tuple[str, Any] = self.connection.recv()
        except (EOFError, OSError):
            return None
        return message

    def end(self, *, at_once: bool) -> None:
        """Ask the process to end: after its task, or at once."""
        self.connection.close()
        if at_once:
            self._process.terminate()

    def join(self) -> str:
        """Wait until the process has ended; return how, in words."""
        self.connection.close()
        return how_ended(self._process)
