"""What a worker does, and the worker process ``python -m datasetkit.runtime.engines.worker DESCRIPTOR``.

The process reads its tasks from a socket, and writes back messages, which :mod:`datasetkit.runtime.engines.pool` lists.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from datasetkit.runtime.engines.protocol import Seat
from datasetkit.runtime.engines.transport import Message, portable, unpacked

_LEFT = 1
_EVERY_S = 0.2


class _Forward(logging.Handler):
    """Sends log records to the driver, which shows them as its own."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(("log", (record.name, record.levelno, record.getMessage())))


class _Teller:
    """Reports progress of one task: the first report, and then at most a few per second."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._next = 0.0

    def tell(self, value: Any) -> None:
        """Report, unless the last report was just now."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_S
            self._send(("told", value))


def work_through(work: bytes, seat: Seat, next_task: Callable[[], Any], send: Callable[[Message], None]) -> None:
    """Do what there is to do, until something is raised.

    Args:
        work: as :func:`~datasetkit.runtime.engines.transport.packed` returns it.
        seat: where this worker runs.
        next_task: waits for the next task.
        send: sends a message to the driver; called from any thread.

    """
    logging.getLogger("datasetkit").addHandler(_Forward(send))
    logging.getLogger("datasetkit").setLevel(logging.INFO)
    try:
        hello, do = unpacked(work).start(seat)
        gc.freeze()  # garbage collections skip what was loaded, which is far more than what tasks create
        send(("ready", hello))
        while True:
            send(("done", do(next_task(), _Teller(send).tell)))
    except BaseException as error:  # noqa: BLE001 - raised again by the driver
        send(("raised", portable(error)))


def main(descriptor: int) -> None:
    """Work until the driver closes the socket."""
    connection = Connection(descriptor)
    sys.path[:], seat = connection.recv()
    lock = threading.Lock()

    def send(message: Message) -> None:
        with lock, contextlib.suppress(OSError):  # the driver has gone; the thread that reads ends this process
            connection.send(message)

    work = connection.recv_bytes()
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, tasks), daemon=True).start()
    work_through(work, seat, tasks.get, send)
    os._exit(_LEFT)


def _read(connection: Connection, tasks: queue.SimpleQueue[Any]) -> None:
    """Pass on tasks; end the process when the driver closes the socket, or has died."""
    while True:
        try:
            tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
