"""Lanes that compute on CPUs: threads of this process, each with a process of its own where that helps.

Owns the order of jobs, which functions other processes can run, and what follows when one of these processes dies.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from datasetkit.core.errors import EngineError, UnusableError, is_out_of_memory
from datasetkit.core.ledger import DropReason
from datasetkit.runtime.stages.companion import Companion, Gone

logger = logging.getLogger(__name__)
Function = Callable[[Any], Any]
# A result, or what was raised; and the seconds of work.
OnDone = Callable[[Any, BaseException | None, float], None]
# A process that ends this often at one job ends because of it.
_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Job:
    """One call of a function.

    Args:
        owner: who submitted it.
        name: name of the function.
        argument: its argument.
        on_done: called in the lane's thread.

    """

    owner: object
    name: str
    argument: Any
    on_done: OnDone


Kind = Literal["processes", "threads", "shared"]


class Pool:
    """Calls functions of one argument in lanes.

    Functions that cannot be pickled, such as those of some plug-ins, run in threads of this process, whatever the kind.
    Errors for want of memory become the error of their argument.

    Args:
        functions: by name.
        lanes: number of lanes.
        kind: ``processes`` gives each lane a process with copies of the functions, which frees this one's interpreter;
            ``threads`` gives each lane copies in this process, as tokenizers cannot be used by several threads at once;
            ``shared`` gives no copies.

    """

    def __init__(self, functions: Mapping[str, Function], lanes: int, kind: Kind) -> None:
        self.lanes = lanes
        self._shared = dict(functions)
        self._portable: dict[str, Function] = {}
        if kind != "shared":
            self._portable = {name: function for name, function in functions.items() if _is_portable(function)}
        self._has_processes = kind == "processes"
        self._jobs: list[tuple[tuple[int, ...], int, Job]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._companions: list[Companion] = []
        self._is_closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the lanes' processes."""
        return tuple(companion.pid for companion in self._companions)

    def submit(self, job: Job, order: tuple[int, ...]) -> None:
        """Add a job; jobs with the smallest ``order`` are done first."""
        with self._changed:
            if not self._threads:
                self._start()
            heapq.heappush(self._jobs, (order, next(self._numbers), job))
            self._changed.notify()

    def drop(self, owner: object) -> None:
        """Forget the jobs of an owner that have not begun."""
        with self._changed:
            self._jobs = [entry for entry in self._jobs if entry[2].owner is not owner]
            heapq.heapify(self._jobs)

    def close(self, *, waits: bool = True) -> None:
        """End all lanes and their processes.

        Args:
            waits: whether to wait for what threads are doing.

        """
        with self._changed:
            self._is_closed = True
            self._jobs.clear()
            self._changed.notify_all()
        for companion in self._companions:
            companion.end()
        for thread in self._threads if waits else ():
            thread.join()
        self._companions = []

    def _start(self) -> None:
        payload = pickle.dumps(self._portable)
        for number in range(self.lanes):
            if self._has_processes and self._portable:
                self._companions.append(Companion(payload))
            self._threads.append(threading.Thread(target=self._work, args=(number, payload), daemon=True))
            self._threads[-1].start()

    def _work(self, number: int, payload: bytes) -> None:
        own: dict[str, Function] = {}
        if not self._companions:
            own = pickle.loads(payload)  # noqa: S301 - of this process
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._is_closed)
                if self._is_closed:
                    return
                job = heapq.heappop(self._jobs)[2]
            try:
                if self._companions and job.name in self._portable:
                    result, seconds = self._remote(number, payload, job)
                else:
                    start = time.perf_counter()
                    result = (own.get(job.name) or self._shared[job.name])(job.argument)
                    seconds = time.perf_counter() - start
            except BaseException as error:  # noqa: BLE001 - raised again by the owner of the job
                job.on_done(None, _of_item(error), 0.0)
            else:
                job.on_done(result, None, seconds)

    def _remote(self, number: int, payload: bytes, job: Job) -> tuple[Any, float]:
        for _ in range(_ATTEMPTS):
            try:
                return self._companions[number].call(job.name, job.argument)
            except Gone as gone:
                if self._is_closed:
                    raise
                if not gone.has_started:
                    raise EngineError(
                        f"a process that works beside the models was {gone} while it started; give fewer --workers"
                    ) from None
                logger.warning("%s: its process was %s; another one takes its place", job.name, gone)
                how = str(gone)
                self._companions[number] = Companion(payload)
        raise UnusableError(DropReason.WORKER_DIED, f"{job.name}: the process was {how}, {_ATTEMPTS} times in a row")


def _is_portable(function: Function) -> bool:
    """Return whether another process can have a copy of a function.

    What is defined in ``__main__`` is not there, since a script is not run again in the processes.
    """
    try:
        data = pickle.dumps(function)
        pickle.loads(data)  # noqa: S301 - of this process
    except Exception:  # noqa: BLE001 - objects of plug-ins may raise anything
        return False
    return b"__main__" not in data


def _of_item(error: BaseException) -> BaseException:
    """Turn an error for want of memory into one of the item."""
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        return UnusableError(DropReason.OUT_OF_MEMORY, "not enough memory for this single image")
    return error
