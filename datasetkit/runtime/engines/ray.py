"""The engine ``ray``: workers are actors of a Ray cluster, or of Ray started on this machine. Owns their life.

An actor works in a thread of its own, and leaves messages that the driver fetches one call at a time. It is given one
task after the other: to hand one over takes a millisecond. Tasks, progress and results are small; images are read and
written by workers, so that none is ever in Ray's object store.

A dead actor is replaced by a new one rather than restarted by Ray (``max_restarts``): until an actor is back, Ray
fails whatever it is given, and all its calls under way, without saying which of them it died of. A new actor runs on
any machine that has room. All actors are asked for at once, so that an autoscaler adds machines, and work begins with
the first one that is there. Actors end with their driver, however it ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import platform
import queue
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
import ray.exceptions

from datasetkit import __version__
from datasetkit.core.errors import EngineError
from datasetkit.core.text import error_text
from datasetkit.runtime.children import module_paths, thread_limits
from datasetkit.runtime.engines.pool import Pool, Worker
from datasetkit.runtime.engines.protocol import Seat, Work
from datasetkit.runtime.engines.transport import Message
from datasetkit.runtime.engines.worker import work_through
from datasetkit.runtime.machine import processor_count

logger = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 100_000_000
_PATIENCE_S = 30.0
_CONNECT_S = 10.0
_INIT_ERRORS = (ray.exceptions.RayError, ConnectionError, OSError, RuntimeError, ValueError)


class Ray(Pool["_Actor"]):
    """Does tasks in actors of Ray.

    Args:
        seats: one per actor. One with the device ``cuda`` asks Ray for a GPU, and one with ``auto`` does if the cluster
            has any.
        address: of the cluster; ``auto`` for the one that this machine belongs to; None to start Ray here. A script
            that has called ``ray.init`` uses that cluster.

    """

    _advice = (
        "the logs of Ray are in /tmp/ray/session_latest/logs of the machine; give fewer --workers if memory is short"
    )

    def __init__(self, seats: Sequence[Seat], address: str | None = None) -> None:
        super().__init__(seats)
        self._address = address
        self._connection = contextlib.ExitStack()
        self._has_warned = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._connection:
            super().__exit__(kind, error, trace)

    @property
    def places(self) -> tuple[str, ...]:
        """Machine and process of each actor that runs."""
        return tuple(worker.place for worker in self._workers if worker.place)

    def start(self, work: Work) -> Any:
        """Connect to Ray, and start all workers; see :class:`~datasetkit.runtime.engines.protocol.Engine`."""
        is_local = self._connection.enter_context(_cluster(self._address, len(self._seats)))
        self._seats = tuple(map(_placed, self._seats))
        if is_local and ray.cluster_resources().get("GPU", 0) < _needs(self._seats[0])["num_gpus"]:
            raise EngineError("Ray finds no GPU on this machine; give --device cpu, or --ray-address for a cluster")
        return super().start(work)

    def _start_worker(self, seat: Seat) -> _Actor:
        return _Actor(seat, self._work)

    def _receive(self) -> Iterator[tuple[_Actor, Message | None]]:
        by_call = {worker.call: worker for worker in self._workers}
        ready, _ = ray.wait([*by_call], timeout=_PATIENCE_S)
        if not ready:
            self._warn()
            return
        # All that are ready: the first ones in order would otherwise keep the others waiting.
        ready, _ = ray.wait([*by_call], num_returns=len(by_call), timeout=0)
        for call in ready:
            worker = by_call[call]
            for message in worker.messages():
                yield worker, message

    def _warn(self) -> None:
        """Warn once if no actor runs: the cluster may have no room, or no such machine."""
        if not self.places and not self._has_warned:
            self._has_warned = True
            needs, there = _needs(self._seats[0]), ray.cluster_resources()
            logger.warning(
                "waiting for Ray to start a worker, which needs %d CPUs and %d GPUs; all machines have %d and %d",
                *needs.values(),
                *(there.get(name, 0) for name in ("CPU", "GPU")),
            )


class _Actor(Worker):
    """An actor in a seat.

    Attributes:
        call: the call that fetches its next messages.
        place: its machine and process; None until it runs.

    """

    def __init__(self, seat: Seat, work: bytes) -> None:
        super().__init__(seat)
        self.place: str | None = None
        self._how = "ended"
        options = {**_needs(seat), "max_restarts": 0, "max_task_retries": 0, "max_concurrency": 2}
        actor = ray.remote(_RemoteWorker).options(**options)
        self._actor = actor.remote(str(Path.cwd()), thread_limits(seat.threads), seat, work)
        self.call = self._actor.listen.remote()

    def give(self, payload: Any) -> None:
        """Hand over a task."""
        self._actor.give.remote(payload)

    def messages(self) -> Iterator[Message | None]:
        """Yield the messages that have come; None if the actor has died."""
        try:
            found = ray.get(self.call)
        except ray.exceptions.RayError as error:
            self._how = self._end_of(error)
            yield None
            return
        self.call = self._actor.listen.remote()
        for message in map(pickle.loads, found):
            if message[0] == "runs":
                self.place = message[1]
            else:
                yield message

    def end(self, *, at_once: bool) -> None:  # noqa: ARG002 - it has no task, or is not to finish it
        """End the actor."""
        ray.kill(self._actor)

    def join(self) -> str:
        """Return how the actor ended; one that Ray cannot reach may still run, and is ended."""
        ray.kill(self._actor)
        return self._how

    def _end_of(self, error: Exception) -> str:
        """Return in words how the actor ended.

        Raises:
            EngineError: it cannot even import this module.

        """
        if getattr(error, "actor_init_failed", False):
            raise EngineError(
                f"the workers of Ray cannot start ({str(error).strip().splitlines()[-1]}); install datasetkit[ray] "
                f"{__version__} on every machine of the cluster"
            ) from error
        how = "killed, or ended by itself"
        if isinstance(error, ray.exceptions.ActorUnavailableError):
            how = "out of reach"
        elif isinstance(error, ray.exceptions.OutOfMemoryError):
            how = "killed by Ray for want of memory"
        elif getattr(error, "preempted", False):
            how = "lost with its machine"
        return f"{how} ({self.place or 'before it ran'})"


class _RemoteWorker:
    """A worker, as an actor. Its thread works, while its methods hand over tasks and fetch messages.

    Args:
        folder: the driver's current folder, which relative paths are in.
        limits: variables that limit the threads of libraries.
        seat: where the worker runs.
        work: as :func:`~datasetkit.runtime.engines.transport.packed` returns it.

    """

    def __init__(self, folder: str, limits: Mapping[str, str], seat: Seat, work: bytes) -> None:
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._send(("runs", f"process {os.getpid()} on {platform.node()}"))
        os.environ.update(limits)
        with contextlib.suppress(OSError):  # absolute paths and URLs do not need it
            os.chdir(folder)
        threading.Thread(target=work_through, args=(work, seat, self._tasks.get, self._send), daemon=True).start()

    def give(self, payload: Any) -> None:
        """Hand over a task."""
        self._tasks.put(payload)

    def listen(self) -> list[bytes]:
        """Wait for messages, and return all that there are, pickled."""
        found = [self._messages.get()]
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._messages.get_nowait())
        return found

    def _send(self, message: Message) -> None:
        self._messages.put(pickle.dumps(message))


def _placed(seat: Seat) -> Seat:
    """Return a seat as it is in this cluster: a worker with a GPU has its share of the processors of its machine."""
    device = seat.device
    if device == "auto" and ray.cluster_resources().get("GPU"):
        device = "cuda"
    if device is None or not device.startswith("cuda"):
        return seat
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    shares = [int(there.get("CPU", 1) // there["GPU"]) for there in machines]
    # Ray hides the other GPUs, so that a worker's own is the first one.
    return replace(seat, device="cuda", threads=max(min(shares, default=seat.threads), 1))


def _needs(seat: Seat) -> dict[str, int]:
    """Return what an actor asks Ray for."""
    has_gpu = seat.device is not None and seat.device.startswith("cuda")
    return {"num_cpus": seat.threads if has_gpu else 1, "num_gpus": int(has_gpu)}


@contextlib.contextmanager
def _cluster(address: str | None, workers: int) -> Iterator[bool]:
    """Connect to Ray, or start it, unless this process has done so; yield whether it was started here.

    Raises:
        EngineError: Ray cannot be reached, or cannot be started.

    """
    if ray.is_initialized():
        yield False
        return
    try:
        if address is None:
            _start(workers)
        else:
            _connect(address)
        yield address is None
    finally:
        ray.shutdown()


def _start(workers: int) -> None:
    """Start Ray on this machine, for this process alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Its ports are open to the network. Without a token in the environment, Ray writes one to the home folder.
    if not any(name.startswith("RAY_AUTH_") for name in os.environ):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    former = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = module_paths()
    try:
        _init(
            "local",
            num_cpus=max(workers, processor_count()),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
        )
    finally:
        del os.environ["PYTHONPATH"]
        if former is not None:
            os.environ["PYTHONPATH"] = former


def _connect(address: str) -> None:
    """Connect to a cluster."""
    if "://" in address:
        raise EngineError(
            f"{address} is for clients outside of a cluster; run the command on a machine of the cluster, with "
            "--ray-address auto"
        )
    host, _, port = address.rpartition(":")
    if port.isdecimal():  # Ray itself would try for minutes
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise EngineError(
                f"no Ray cluster answers at {address} ({error_text(error)}); `ray status` on its head shows the address"
            ) from error
    _init(address)


def _init(address: str, **options: Any) -> None:
    """Call ``ray.init`` without its effects on signals and on stdout."""
    internals, former = ray._private.utils, signal.getsignal(signal.SIGTERM)
    set_handler, internals.set_sigterm_handler = internals.set_sigterm_handler, lambda _: None
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except _INIT_ERRORS as error:
        if address == "local":
            raise EngineError(f"Ray cannot be started: {error_text(error)}") from error
        raise EngineError(
            f"Ray cannot be reached at {address}: {error_text(error)}; if the cluster asks for a token, set "
            "RAY_AUTH_MODE=token"
        ) from error
    finally:
        internals.set_sigterm_handler = set_handler
        # Its compiled part has a handler as well, which would print a stack.
        if former is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)
    # Deaths of actors would be printed to stdout, which is for the result of a command.
    ray._private.worker._worker_logs_enabled = False
