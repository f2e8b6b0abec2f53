"""Results in order: from any number of workers, after deaths, with few results waiting; progress."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import SourceFailedError
from datasetkit.runtime.engines.here import Here
from datasetkit.runtime.engines.in_order import TaskProgress, in_order
from datasetkit.runtime.engines.processes import Processes
from datasetkit.runtime.engines.protocol import Died, Done, Engine, Seat, Task
from tests.engine_work import Squares


def seats(count: int) -> list[Seat]:
    return [Seat(number) for number in range(count)]


def ignore(*_: object) -> None:
    pass


def results(events: Iterator[Done | Died]) -> list[Any]:
    return [event.result[1] if isinstance(event, Done) else event.how for event in events]


@pytest.mark.parametrize("engine", [Here(Seat(0)), Processes(seats(1)), Processes(seats(3))])
def test_results_are_in_the_order_of_the_payloads(engine: Engine) -> None:
    payloads = [("sleep", 0.2), 2, ("sleep", 0.1), *range(3, 20)]
    told: list[Any] = []
    with engine:
        engine.start(Squares())
        found = results(in_order(engine, iter(payloads), lambda task, value: told.append((task.number, value)), 5))
    assert found == [None, 4, None, *(number**2 for number in range(3, 20))]
    assert sorted(told) == [(1, 2), *((number, number) for number in range(3, 20))]


def test_no_more_than_a_few_results_wait(tmp_path: Path) -> None:
    """The first task ends a moment after the fourth was given; the others must not run ahead of it without end."""
    given = []

    def payloads() -> Iterator[Any]:
        for number in range(30):
            given.append(number)
            if number == 3:
                (tmp_path / "go").touch()
            yield ("wait", tmp_path / "go") if number == 0 else number

    with Processes(seats(2)) as engine:
        engine.start(Squares())
        events = in_order(engine, payloads(), ignore, 4)
        assert next(events).result[1] is None
        assert given == [0, 1, 2, 3]
        assert len(list(events)) == 29


def test_task_of_a_dead_worker_is_done_by_another(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.write_bytes(b"xx")
    with Processes(seats(2)) as engine:
        engine.start(Squares())
        assert results(in_order(engine, [1, ("kill", lives), 3, 4], ignore, 8)) == [1, "survived", 9, 16]


def test_task_is_given_up_after_three_deaths(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.write_bytes(b"x" * 5)
    with Processes(seats(2)) as engine:
        engine.start(Squares())
        assert results(in_order(engine, [1, ("kill", lives), 3], ignore, 8)) == [1, "killed by SIGKILL", 9]
    assert lives.read_bytes() == b"xx"


def test_worker_killed_from_outside_loses_nothing() -> None:
    with Processes(seats(2)) as engine:
        engine.start(Squares())
        events = in_order(engine, [*range(4), ("sleep", 0.3), ("sleep", 0.3), *range(6, 30)], ignore, 8)
        found = [next(events)]
        os.kill(engine.pids[0], signal.SIGKILL)
        found += events
    expected = [number**2 for number in range(30)]
    expected[4:6] = [None, None]
    assert results(iter(found)) == expected


@pytest.mark.parametrize("engine", [Here(Seat(0)), Processes(seats(2))])
def test_errors_of_workers_and_payloads_are_raised(engine: Engine) -> None:
    def payloads() -> Iterator[int]:
        yield 1
        raise OSError("cannot be read")

    with engine:
        engine.start(Squares())
        with pytest.raises(SourceFailedError, match="it broke"):
            list(in_order(engine, [1, ("raise", "it broke"), 3], ignore, 8))
    with engine:
        engine.start(Squares())
        with pytest.raises(OSError, match="cannot be read"):
            list(in_order(engine, payloads(), ignore, 8))


def test_progress_counts_tasks_under_way_once() -> None:
    seen: list[tuple[str, int, int]] = []
    progress = TaskProgress("testing", 10, lambda *step: seen.append(step))
    one, other = Task(0, None), Task(1, None)
    progress.tell(one, 2)
    progress.tell(other, 3)
    progress.tell(one, 4)
    progress.done(one, 5)
    progress.tell(other, 1)  # its worker died, and another one began again
    progress.done(other, 5)
    assert seen == [("testing", done, 10) for done in (2, 5, 7, 8, 6, 10)]
    TaskProgress("testing", 10, None).tell(one, 1)
