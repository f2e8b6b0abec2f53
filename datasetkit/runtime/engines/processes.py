"""The engine ``processes``: workers are processes on this machine. Owns their start, their messages and their end.

Each worker is ``python -m datasetkit.runtime.engines.worker`` with a socket to this process, so that a script that
builds needs no ``if __name__ == "__main__"``. A worker ends as soon as this process does, however it ends: its socket
closes.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from datasetkit.runtime.children import how_ended, start_child
from datasetkit.runtime.engines.pool import Pool, Worker
from datasetkit.runtime.engines.protocol import Seat
from datasetkit.runtime.engines.transport import Message


class Processes(Pool["_Process"]):
    """Does tasks in processes on this machine.

    Args:
        seats: one per process.

    """

    _advice = "give fewer --workers if memory is short, or --workers 1 to see what happens in one process"

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def _start_worker(self, seat: Seat) -> _Process:
        return _Process(seat, self._work)

    def _receive(self) -> Iterator[tuple[_Process, Message | None]]:
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait([*by_connection]):
            worker = by_connection[connection]  # type: ignore[index] # only connections are waited for
            yield worker, worker.receive()


class _Process(Worker):
    """A process in a seat.

    Attributes:
        connection: to the process.

    """

    def __init__(self, seat: Seat, work: bytes) -> None:
        super().__init__(seat)
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

    def give(self, payload: Any) -> None:
        """Hand over a task."""
        with contextlib.suppress(OSError):  # it died; reading will tell
            self.connection.send(payload)

    def receive(self) -> Message | None:
        """Return the next message; None if the process has ended."""
        try:
            message: Message = self.connection.recv()
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
