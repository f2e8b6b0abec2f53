"""The engine ``ray`` on a cluster of two machines on loopback."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
import textwrap
import time
from collections import deque
from pathlib import Path

import pytest

import datasetkit.runtime.engines.transport
from datasetkit.core.errors import EngineError, SourceFailedError
from datasetkit.runtime.engines.protocol import Done, Seat, Task
from datasetkit.runtime.engines.transport import WorkerTraceback
from tests.conftest import REPOSITORY
from tests.engine_tasks import assert_gone, carry_out, is_running, seats
from tests.engine_work import DiesAtStart, RaisesAtStart, Reports, Squares

ray = pytest.importorskip("ray", reason="Ray is tested in an environment of its own: make test-ray")
engines_ray = importlib.import_module("datasetkit.runtime.engines.ray")
Ray = engines_ray.Ray
pytestmark = pytest.mark.slow


def pids_of(engine: Ray) -> list[int]:
    return [int(place.split()[1]) for place in engine.places]


def test_every_task_is_done_once_on_both_machines(cluster: str) -> None:
    with Ray(seats(2), cluster) as engine:
        assert engine.start(Squares())["seat"] in {0, 1}
        results, deaths, told = carry_out(engine, [*range(20), *[("sleep", 1)] * 6])
        assert len({*pids_of(engine)}) == 2, "one processor each, so one worker each"
    assert [results[number] for number in range(20)] == [number**2 for number in range(20)]
    assert {*told} <= {*range(20)}
    assert deaths == []
    assert not ray.is_initialized()


def test_workers_without_room_keep_nobody_waiting(cluster: str) -> None:
    with Ray(seats(7), cluster) as engine:
        engine.start(Squares())
        results, _, _ = carry_out(engine, range(50))
        assert len(engine.places) <= 2
    assert results == {number: number**2 for number in range(50)}


def test_waiting_for_room_is_reported(
    cluster: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines_ray, "_PATIENCE_S", 0.1)
    ray.init(cluster, log_to_driver=False, namespace="other")
    others = [ray.remote(num_cpus=1)(lambda: time.sleep(3)).remote() for _ in range(2)]
    with Ray(seats(1), cluster) as engine:
        engine.start(Squares())
        assert carry_out(engine, [3])[0] == {0: 9}
    assert "waiting for Ray to start a worker, which needs 1 CPUs and 0 GPUs; all machines have 2 and 2" in caplog.text
    assert caplog.text.count("waiting for Ray") == 1
    assert ray.is_initialized(), "a connection of the script is not closed"
    ray.get(others)
    ray.shutdown()


def test_worker_that_is_killed_is_replaced(
    cluster: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lives").write_bytes(b"xxx")
    with Ray(seats(2), cluster) as engine:
        engine.start(Squares())
        results, deaths, _ = carry_out(engine, [1, ("kill", tmp_path / "lives"), *range(2, 10)])
    assert {death.task.number for death in deaths} == {1}, "tasks of other workers are not lost"
    assert [death.how.partition(" (process ")[0] for death in deaths] == ["killed, or ended by itself"] * 3
    assert results[1] == "survived"
    assert len(results) == 10
    assert caplog.text.count("another one takes its place") == 3
    assert capfd.readouterr().out == "", "stdout is for the result of a command"


def test_task_that_always_kills_is_reported_each_time(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "lives").write_bytes(b"x" * 100)
    with Ray(seats(2), cluster) as engine:
        engine.start(Squares())
        results, deaths, _ = carry_out(engine, [("kill", tmp_path / "lives"), *range(1, 30)], retries=4)
    assert len(deaths) == 5
    assert sorted(results) == [*range(1, 30)]


def test_error_of_a_worker_is_raised_with_its_traceback(cluster: str) -> None:
    with Ray(seats(2), cluster) as engine:
        engine.start(Squares())
        with pytest.raises(SourceFailedError, match=r"^it broke; finished parts") as raised:
            carry_out(engine, [("raise", "it broke"), 1, 2])
    assert isinstance(raised.value.__cause__, WorkerTraceback)
    assert "_do" in str(raised.value.__cause__)
    assert "\n" not in str(raised.value)
    with Ray(seats(1), cluster) as engine:
        engine.start(Squares())
        with pytest.raises(EngineError, match=r"^a worker failed: UnpicklableError: a lambda inside$"):
            carry_out(engine, [("unpicklable", None)])


def test_errors_at_the_start_are_raised(cluster: str) -> None:
    with Ray(seats(2), cluster) as engine, pytest.raises(SourceFailedError, match="no source"):
        engine.start(RaisesAtStart())
    with Ray(seats(2), cluster) as engine, pytest.raises(EngineError, match=r"^3 workers ended while they started"):
        engine.start(DiesAtStart())


def test_other_version_on_a_machine_is_named(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasetkit.runtime.engines.transport, "__version__", "0.0.1")
    with Ray(seats(1), cluster) as engine, pytest.raises(EngineError, match=r"the command was started by 0\.0\.1;"):
        engine.start(Squares())


def test_machine_without_datasetkit_is_named(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "class Missing:\n    def __init__(self, *_): ...\n    def listen(self): ...\n"
    (tmp_path / "only_here.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(engines_ray, "_RemoteWorker", importlib.import_module("only_here").Missing)
    expected = r"^the workers of Ray cannot start \(ModuleNotFoundError: No module named 'only_here'\); install dataset"
    with Ray(seats(1), cluster) as engine, pytest.raises(EngineError, match=expected):
        engine.start(Squares())


def test_logs_of_workers_are_those_of_the_driver(cluster: str, caplog: pytest.LogCaptureFixture) -> None:
    with Ray(seats(1), cluster) as engine, caplog.at_level(logging.INFO, "datasetkit"):
        engine.start(Squares())
        carry_out(engine, [("log", "something %s happened")])
    assert ("datasetkit.test", logging.WARNING, "something %s happened") in caplog.record_tuples


def test_worker_is_in_the_folder_of_the_driver(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with Ray([Seat(0, threads=2)], cluster) as engine:
        report = engine.start(Reports())
    assert report.folder == str(tmp_path)
    assert report.variables["OMP_NUM_THREADS"] == "3", "as the user has set it"
    assert report.variables["MKL_NUM_THREADS"] == "2", "as the seat says"


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_each_worker_with_models_has_a_gpu_of_its_own(cluster: str, device: str) -> None:
    with Ray([Seat(0, device, threads=2)], cluster) as engine:
        report = engine.start(Reports())
        assert ray.available_resources()["GPU"] == 1
    assert report.seat == Seat(0, "cuda", threads=1), "the machine has one processor for its two GPUs"
    assert report.variables["CUDA_VISIBLE_DEVICES"] in {"0", "1"}


def test_worker_on_the_cpu_takes_no_gpu(cluster: str) -> None:
    with Ray([Seat(0, "cpu", threads=2)], cluster) as engine:
        report = engine.start(Reports())
        assert ray.available_resources()["GPU"] == 2
    assert report.seat == Seat(0, "cpu", threads=2)


def test_leaving_early_ends_busy_workers(cluster: str) -> None:
    with Ray(seats(2), cluster) as engine:
        engine.start(Squares())
        carry_out(engine, [("sleep", 1)] * 8)
        pids = pids_of(engine)
        waiting = deque([Task(0, 1), Task(1, ("sleep", 1000)), Task(2, ("sleep", 1000))])
        next(engine.run(lambda: waiting.popleft() if waiting else None, lambda *_: None))
    assert len(pids) == 2
    assert_gone(pids)


@pytest.mark.parametrize("where", ["cluster", "here"])
def test_workers_end_with_a_killed_driver(cluster: str, tmp_path: Path, where: str) -> None:
    script = tmp_path / "script.py"  # without a guard for __main__, as users write them
    script.write_text(
        textwrap.dedent(f"""
        from datasetkit.runtime.engines.protocol import Seat, Task
        from datasetkit.runtime.engines.ray import Ray
        from tests.engine_work import Squares
        with Ray([Seat(0), Seat(1)], {cluster if where == "cluster" else None!r}) as engine:
            engine.start(Squares())
            tasks = [Task(n, ("sleep", 0.5)) for n in range(8)]
            list(engine.run(lambda: tasks.pop() if tasks else None, print))
            print(*(place.split()[1] for place in engine.places), flush=True)
            tasks = [Task(n, ("sleep", 1000)) for n in range(2)]
            list(engine.run(lambda: tasks.pop() if tasks else None, print))
        """)
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, cwd=REPOSITORY) as driver:
        pids = tuple(map(int, driver.stdout.readline().split()))
        assert all(map(is_running, pids))
        driver.kill()
    assert len(pids) == 2
    assert_gone(pids)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("127.0.0.1:1", r"^no Ray cluster answers at 127\.0\.0\.1:1 \(.*refused\); `ray status` on its head shows"),
        ("ray://127.0.0.1:10001", r"is for clients outside of a cluster; run the command on a machine of the cluster"),
        ("nonsense", r"^Ray cannot be reached at nonsense: Invalid address format: nonsense; if "),
    ],
)
def test_cluster_that_is_not_there_is_named(address: str, error: str) -> None:
    with Ray(seats(1), address) as engine, pytest.raises(EngineError, match=error):
        engine.start(Squares())
    assert not ray.is_initialized()


def test_models_on_gpus_need_gpus_here() -> None:
    os.environ["PYTHONPATH"], former = "/somewhere", os.environ["PYTHONPATH"]
    try:
        with Ray([Seat(0, "cuda")]) as engine, pytest.raises(EngineError, match="Ray finds no GPU on this machine"):
            engine.start(Squares())
        assert os.environ["PYTHONPATH"] == "/somewhere"
    finally:
        os.environ["PYTHONPATH"] = former


def test_done_is_yielded_as_tasks_end(cluster: str) -> None:
    with Ray(seats(1), cluster) as engine:
        engine.start(Squares())
        waiting = deque([Task(7, 3), Task(8, ("sleep", 1000))])
        event = next(engine.run(lambda: waiting.popleft() if waiting else None, lambda *_: None))
    assert isinstance(event, Done)
    assert event.task == Task(7, 3)
    assert event.result[1] == 9
