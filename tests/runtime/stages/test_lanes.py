"""Lanes of a pool: what travels to their processes, which functions stay here, and what follows when one dies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from datasetkit.core.errors import EngineError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.runtime.engines.transport import WorkerTraceback
from datasetkit.runtime.stages.companion import packed, receive, send
from datasetkit.runtime.stages.lanes import Job, Pool

WAIT_S = 60.0


def call(pool: Pool, name: str, argument: Any) -> Any:
    """Run one job and return its result, or raise its error."""
    done = threading.Event()
    found: list[Any] = []

    def on_done(result: Any, error: BaseException | None, seconds: float) -> None:
        found.extend((result, error))
        done.set()

    pool.submit(Job(pool, name, argument, on_done), (0,))
    assert done.wait(WAIT_S)
    if found[1] is not None:
        raise found[1]
    return found[0]


def describe(argument: Any) -> tuple[int, str, Any]:
    """Return the process, what it may see of GPUs, and the argument."""
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", "all"), argument


def refuse(argument: str) -> None:
    raise UnusableError(DropReason.EMPTY, argument)


class Odd(Exception):  # noqa: N818
    """Cannot be pickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def fail(kind: str) -> None:
    if kind == "odd":
        raise Odd("very ", "odd")
    raise ZeroDivisionError("a defect") if kind == "defect" else MemoryError


def local_function(_: Any) -> Any:
    return lambda: None


def die_until(path: Path) -> str:
    """Kill this process, unless a file has as many lines as it may have deaths."""
    lines = path.read_text().splitlines() if path.exists() else []
    if len(lines) >= 1 and lines[-1] == "survive":
        return "alive"
    path.write_text("survive" if len(lines) == 0 and "once" in path.name else "die")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@contextlib.contextmanager
def processes(*functions: Callable[[Any], Any], lanes: int = 1) -> Iterator[Pool]:
    pool = Pool({function.__name__: function for function in functions}, lanes, "processes")
    try:
        yield pool
    finally:
        pool.close()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_gone(pids: tuple[int, ...]) -> bool:
    end = time.monotonic() + WAIT_S
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


ARRAYS = hnp.arrays(
    st.sampled_from([np.uint8, np.float32, np.bool_]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
)


@given(st.lists(ARRAYS, max_size=3), st.text(), st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None)
def test_values_travel_unchanged(arrays: list[Any], text: str, width: int, height: int) -> None:
    image = Image.fromarray(np.arange(3 * width * height, dtype=np.uint8).reshape(height, width, 3))
    here, there = socket.socketpair()
    with here, there:
        send(here, packed({"arrays": arrays, "text": text, "image": image}))
        found = receive(there)
    assert (found["text"], found["image"].mode, found["image"].size) == (text, "RGB", (width, height))
    assert found["image"].tobytes() == image.tobytes()
    for array, other in zip(arrays, found["arrays"], strict=True):
        assert (array.dtype, array.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(array, other)
        assert other.flags.writeable or not other.size


def test_large_arrays_are_not_copied_into_the_pickle() -> None:
    large = np.zeros(2**22, np.uint8)
    here, there = socket.socketpair()
    lengths: list[int] = []

    def listen() -> None:
        count = int.from_bytes(there.recv(8, socket.MSG_WAITALL), "little")
        lengths.extend(int.from_bytes(there.recv(8, socket.MSG_WAITALL), "little") for _ in range(count))
        there.close()

    thread = threading.Thread(target=listen)
    thread.start()
    with here, contextlib.suppress(OSError):
        send(here, packed([large, Image.new("RGB", (64, 64))]))
    thread.join()
    assert lengths[1:] == [2**22, 3 * 64 * 64]
    assert lengths[0] < 1000


@pytest.mark.slow
def test_functions_run_in_processes_that_see_no_gpu() -> None:
    with processes(describe, refuse, fail, local_function, lanes=2) as pool:
        pid, gpus, image = call(pool, "describe", Image.new("RGB", (3, 2), (1, 2, 3)))
        assert pid in pool.pids
        assert len(pool.pids) == 2
        assert gpus == ""
        assert image.getpixel((2, 1)) == (1, 2, 3), "results are images, too"
        with pytest.raises(UnusableError, match="nothing") as refused:
            call(pool, "refuse", "nothing")
        assert refused.value.reason is DropReason.EMPTY
        with pytest.raises(ZeroDivisionError, match="a defect") as failed:
            call(pool, "fail", "defect")
        assert isinstance(failed.value.__cause__, WorkerTraceback)
        assert "in fail" in str(failed.value.__cause__)
        with pytest.raises(UnusableError) as short:
            call(pool, "fail", "memory")
        assert short.value.reason is DropReason.OUT_OF_MEMORY
        with pytest.raises(Exception, match="very odd"):
            call(pool, "fail", "odd")
        with pytest.raises(EngineError, match="the result of local_function cannot be sent to another process"):
            call(pool, "local_function", None)
        assert call(pool, "describe", "next")[2] == "next"
        pids = pool.pids
    assert all_gone(pids)


def test_functions_that_cannot_be_copied_stay_here() -> None:
    lock = threading.Lock()

    def local(argument: int) -> int:
        with lock:
            return argument + 1

    with processes(local) as pool:
        assert call(pool, "local", 1) == 2
        assert pool.pids == ()


class Counter:
    """Counts its calls, in itself."""

    __name__ = "counter"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: Any) -> int:
        self.calls += 1
        return self.calls


@pytest.mark.parametrize(("kind", "calls"), [("threads", 0), ("shared", 1)])
def test_threads_have_copies_unless_they_share(kind: Any, calls: int) -> None:
    counter = Counter()
    pool = Pool({"counter": counter}, 1, kind)
    assert call(pool, "counter", None) == 1
    pool.close()
    assert counter.calls == calls


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_its_job_repeated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with processes(die_until) as pool:
        assert call(pool, "die_until", tmp_path / "once") == "alive"
    assert [record.getMessage() for record in caplog.records] == [
        "die_until: its process was killed by SIGKILL; another one takes its place"
    ]


@pytest.mark.slow
def test_a_job_that_kills_twice_is_the_error_of_its_item(tmp_path: Path) -> None:
    with processes(die_until, describe) as pool:
        with pytest.raises(UnusableError, match=r"die_until: the process was killed by SIGKILL, 2 times") as lost:
            call(pool, "die_until", tmp_path / "always")
        assert lost.value.reason is DropReason.WORKER_DIED
        assert call(pool, "describe", "next")[2] == "next"


_SCRIPT = """
import os, sys, threading, time
from datasetkit.runtime.stages.lanes import Job, Pool
from tests.runtime.stages.test_lanes import describe
def own(argument):
    return os.getpid()
pool, done, found = Pool({"describe": describe, "own": own}, 2, "processes"), threading.Semaphore(0), {}
def note(name):
    def on_done(result, error, seconds):
        found[name] = result
        done.release()
    return on_done
for name in ("describe", "own"):
    pool.submit(Job(pool, name, None, note(name)), (0,))
done.acquire(), done.acquire()
print(found["own"] == os.getpid(), *pool.pids, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_processes_end_with_a_script_that_is_killed() -> None:
    """What a script defines in itself runs in its own process, as the script is not run again in the others."""
    with subprocess.Popen([sys.executable, "-c", _SCRIPT], stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        is_own, *pids = script.stdout.readline().split()
        assert is_own == "True"
        assert len(pids) == 2
        assert all(is_alive(int(pid)) for pid in pids)
        script.kill()
    assert all_gone(tuple(map(int, pids)))
