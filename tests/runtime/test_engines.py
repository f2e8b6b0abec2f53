"""Engines: tasks, progress, deaths of workers, errors, and the end of workers."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import textwrap
from collections import deque
from pathlib import Path

import pytest

from datasetkit.core.errors import EngineError, SourceFailedError
from datasetkit.runtime.engines.here import Here
from datasetkit.runtime.engines.processes import Processes
from datasetkit.runtime.engines.protocol import Engine, Seat, Task
from datasetkit.runtime.engines.transport import WorkerTraceback
from tests.conftest import REPOSITORY
from tests.engine_tasks import assert_gone, carry_out, is_running, seats
from tests.engine_work import DiesAtStart, RaisesAtStart, Squares


@pytest.mark.parametrize("engine", [Here(Seat(0)), Processes(seats(1)), Processes(seats(3))])
def test_every_task_is_done_once(engine: Engine) -> None:
    with engine:
        assert engine.start(Squares())["seat"] in {0, 1, 2}
        results, deaths, told = carry_out(engine, range(20))
    assert results == {number: number**2 for number in range(20)}
    assert sorted(told) == list(range(20))
    assert deaths == []


@pytest.mark.parametrize("engine", [Here(Seat(0)), Processes(seats(1))])
def test_garbage_collections_skip_what_was_loaded(engine: Engine) -> None:
    gc.unfreeze()  # as tests freeze what they import
    try:
        with engine:
            engine.start(Squares())
            waiting = deque([Task(0, ("count frozen objects", None))])
            (event,) = engine.run(lambda: waiting.popleft() if waiting else None, print)
        assert event.result[1] > 1000
        assert gc.get_freeze_count() == 0
    finally:
        gc.freeze()


def test_objects_that_the_caller_froze_stay_frozen() -> None:
    with Here(Seat(0)) as engine:
        engine.start(Squares())
        carry_out(engine, range(2))
    assert gc.get_freeze_count() > 1000


def test_tasks_run_at_the_same_time() -> None:
    with Processes(seats(2)) as engine:
        engine.start(Squares())
        waiting = deque(Task(number, ("sleep", 0.5)) for number in range(6))
        pids = {event.result[0] for event in engine.run(lambda: waiting.popleft() if waiting else None, print)}
    assert len(pids) == 2


def test_another_worker_takes_the_seat_of_a_dead_one(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.write_bytes(b"xxx")
    with Processes(seats(2)) as engine:
        engine.start(Squares())
        results, deaths, told = carry_out(engine, [1, ("kill", lives), *range(2, 10)])
    assert [death.how for death in deaths] == ["killed by SIGKILL"] * 3
    assert {death.task.number for death in deaths} == {1}
    assert results[1] == "survived"
    assert len(results) == 10
    assert told.count("about to die") == 3


def test_error_of_a_worker_is_raised_with_its_traceback() -> None:
    with Processes(seats(2)) as engine:
        engine.start(Squares())
        with pytest.raises(SourceFailedError, match=r"^it broke; finished parts") as raised:
            carry_out(engine, [("raise", "it broke"), 1, 2])
    assert isinstance(raised.value.__cause__, WorkerTraceback)
    assert "_do" in str(raised.value.__cause__)
    assert raised.value.what == "it broke"


def test_error_that_cannot_be_pickled_is_named() -> None:
    with Processes(seats(1)) as engine:
        engine.start(Squares())
        with pytest.raises(EngineError, match="UnpicklableError: a lambda inside"):
            carry_out(engine, [("unpicklable", None)])


def test_errors_at_the_start_are_raised() -> None:
    with Processes(seats(2)) as engine, pytest.raises(SourceFailedError, match="no source"):
        engine.start(RaisesAtStart())
    with Processes(seats(2)) as engine, pytest.raises(EngineError, match="ended while they started"):
        engine.start(DiesAtStart())


def test_logs_of_workers_are_those_of_the_driver(caplog: pytest.LogCaptureFixture) -> None:
    with Processes(seats(1)) as engine, caplog.at_level(logging.INFO, "datasetkit"):
        engine.start(Squares())
        carry_out(engine, [("log", "something %s happened")])
    assert ("datasetkit.test", logging.WARNING, "something %s happened") in caplog.record_tuples


def test_interrupt_of_the_terminal_does_not_reach_workers() -> None:
    with Processes(seats(1)) as engine:
        engine.start(Squares())
        results, deaths, _ = carry_out(engine, [("interrupt", None), 3])
    assert results == {0: None, 1: 9}
    assert deaths == []


def test_leaving_early_ends_busy_workers() -> None:
    with Processes(seats(2)) as engine:
        engine.start(Squares())
        pids = engine.pids
        waiting = deque([Task(0, 1), Task(1, ("sleep", 1000)), Task(2, ("sleep", 1000))])
        next(engine.run(lambda: waiting.popleft() if waiting else None, lambda *_: None))
    assert_gone(pids)


def test_workers_end_with_a_killed_driver(tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # without a guard for __main__, as users write them
    script.write_text(
        textwrap.dedent("""
        from datasetkit.runtime.engines.processes import Processes
        from datasetkit.runtime.engines.protocol import Seat, Task
        from tests.engine_work import Squares
        with Processes([Seat(0), Seat(1)]) as engine:
            engine.start(Squares())
            tasks = [Task(n, ("sleep", 1000)) for n in range(2)]
            print(*engine.pids, flush=True)
            list(engine.run(lambda: tasks.pop() if tasks else None, print))
        """)
    )
    paths = os.pathsep.join([str(REPOSITORY), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment) as driver:
        pids = tuple(map(int, driver.stdout.readline().split()))
        assert all(map(is_running, pids))
        driver.kill()
    assert len(pids) == 2
    assert_gone(pids)
