"""A process that calls functions for a thread of this one. Owns its start, its end, and how data travel.

Arrays and images travel through a socket, out of band of the pickle, so that neither side copies them in Python; shared
memory is not used, since containers limit it to 64 MB. The process sees no GPU, ignores Ctrl-C, and ends as soon as
this process does, however it ends: its socket closes.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import queue
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from datasetkit.core.errors import EngineError, UnusableError
from datasetkit.core.text import error_text
from datasetkit.runtime.children import THREAD_VARIABLES, how_ended, start_child
from datasetkit.runtime.engines.transport import WorkerTraceback, portable

_COUNT = struct.Struct("<Q")
_VARIABLES = {
    **dict.fromkeys(THREAD_VARIABLES, "1"),
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONWARNINGS": "ignore",
    "TRANSFORMERS_VERBOSITY": "error",
}


class Gone(Exception):  # noqa: N818 - the pool turns it into an error, or starts another process
    """The process has ended; ``str()`` is how.

    Args:
        how: how it ended ("killed by SIGKILL").
        has_started: whether it had answered before, or had at least loaded its functions.

    """

    def __init__(self, how: str, *, has_started: bool) -> None:
        super().__init__(how)
        self.has_started = has_started


class Companion:
    """A process with copies of functions; used by one thread.

    Args:
        functions: the pickled functions, a mapping by name.

    """

    def __init__(self, functions: bytes) -> None:
        self._socket, there = socket.socketpair()
        self._has_started = False
        with there:
            self._process = start_child(
                "datasetkit.runtime.stages.companion", there.fileno(), threads=1, variables=_VARIABLES
            )
        with contextlib.suppress(OSError):  # it died at once; the first call will notice
            send(self._socket, packed((sys.path, functions)))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def call(self, name: str, argument: Any) -> tuple[Any, float]:
        """Call a function there.

        Returns:
            its result, and the seconds that it took.

        Raises:
            Gone: the process has ended.
            Exception: what the function raised.

        """
        parts = packed((name, argument))
        try:
            if not self._has_started:
                receive(self._socket)
                self._has_started = True
            send(self._socket, parts)
            kind, value, seconds = receive(self._socket)
        except (EOFError, OSError):
            raise Gone(self._join(), has_started=self._has_started) from None
        if kind == "raised":
            error, trace = value
            raise error from WorkerTraceback(trace)
        if kind == "unusable":
            raise UnusableError(*value)
        return value, seconds

    def end(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._join()

    def _join(self) -> str:
        """Wait until the process has ended; return how, in words."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # a thread that waits for an answer sees the end, too
        return how_ended(self._process)


def packed(value: Any) -> list[memoryview]:
    """Return a pickle of a value, and the memory of its arrays and images."""
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
    return [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]


def send(to: socket.socket, parts: list[memoryview]) -> None:
    """Send what :func:`packed` returned."""
    to.sendall(b"".join(map(_COUNT.pack, (len(parts), *(part.nbytes for part in parts)))))
    for part in parts:
        to.sendall(part)


def receive(of: socket.socket) -> Any:
    """Receive a value.

    Raises:
        EOFError: the other side has ended.

    """
    (count,) = _COUNT.unpack(_read(of, _COUNT.size))
    lengths = [size for (size,) in _COUNT.iter_unpack(_read(of, count * _COUNT.size))]
    first, *buffers = [_read(of, size) for size in lengths]
    return pickle.loads(first, buffers=buffers)  # noqa: S301 - of a process that this one started, or that started it


def _read(of: socket.socket, size: int) -> memoryview:
    memory = memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type] # an array is a buffer
    done = 0
    while done < size:
        new = of.recv_into(memory[done:])
        if not new:
            raise EOFError
        done += new
    return memory


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if type(value) is Image.Image and value.mode == "RGB":
            return _image, (value.size, pickle.PickleBuffer(value.tobytes()))
        return NotImplemented


def _image(size: tuple[int, int], data: Any) -> Image.Image:
    return Image.frombytes("RGB", size, data)


def serve(descriptor: int) -> None:
    """Call functions until the other side closes the socket."""
    there = socket.socket(fileno=descriptor)
    sys.path[:], payload = receive(there)
    functions: dict[str, Callable[[Any], Any]] = pickle.loads(payload)  # noqa: S301 - from the process that started this
    send(there, packed("ready"))
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(there, jobs), daemon=True).start()
    while True:
        name, argument = jobs.get()
        answer = _answer(functions[name], argument)
        try:
            parts = packed(answer)
        except Exception as error:  # noqa: BLE001 - objects of any package
            why = EngineError(f"the result of {name} cannot be sent to another process: {error_text(error)}")
            parts = packed(("raised", portable(why), 0.0))
        with contextlib.suppress(OSError):  # the other side has gone; the thread that listens ends this process
            send(there, parts)


def _listen(there: socket.socket, jobs: queue.SimpleQueue[Any]) -> None:
    """Pass on jobs; end this process when the other side has closed the socket, or has died."""
    while True:
        try:
            jobs.put(receive(there))
        except (EOFError, OSError):
            os._exit(0)


def _answer(function: Callable[[Any], Any], argument: Any) -> tuple[str, Any, float]:
    start = time.perf_counter()
    try:
        return "done", function(argument), time.perf_counter() - start
    except UnusableError as error:
        return "unusable", (error.reason, error.detail), 0.0
    except BaseException as error:  # noqa: BLE001 - raised again by the other side
        return "raised", portable(error), 0.0


if __name__ == "__main__":
    from datasetkit.runtime.stages import companion

    companion.serve(int(sys.argv[1]))  # of the module, whose classes the other side knows by its name
