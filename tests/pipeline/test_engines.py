"""Builds on engines: the same bytes from all of them, deaths of workers, jobs of an array, and late workers."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import datasetkit as dk
import datasetkit.export.output.opening
from datasetkit.core.errors import BusyError, OutputError, RecipeError
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.output.accounts import accounts_path
from datasetkit.export.output.folder import BuildFolder
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.opening import open_parts
from datasetkit.export.statistics.counter import StatisticsCounter
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from datasetkit.runtime.engines.shards import Shard
from tests.conftest import REPOSITORY
from tests.pipeline.builders import check_account, contents, folder_recipe, make_image, put, reasons

pytestmark = pytest.mark.slow
COUNT, PART = 26, 3
IMAGES = {f"{number:02}.png": make_image(number) for number in range(COUNT)} | {"05.png": b"no image"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("source") / "in", IMAGES)


def recipe_of(source: Path, **options: Any) -> Recipe:
    return folder_recipe(source, part_size=PART, splits={"train": 0.7, "test": 0.3}, **options)


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("expected") / "out"
    build(recipe_of(source), RunOptions(out=out, workers=1))
    return contents(out)


def run(source: Path, out: Path, **how: Any) -> Manifest | None:
    return build(recipe_of(source), RunOptions(out=out, **{"workers": 2, **how}))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_processes_write_the_same_bytes(source: Path, expected: dict[str, bytes], tmp_path: Path, workers: int) -> None:
    run(source, tmp_path / "out", engine="processes", workers=workers)
    assert contents(tmp_path / "out") == expected
    assert accounts_path(tmp_path / "out").exists()


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))][::2])
def test_shards_in_any_order_write_the_same_bytes(
    source: Path, expected: dict[str, bytes], tmp_path: Path, order: tuple[int, ...]
) -> None:
    done = [run(source, tmp_path / "out", shard=f"{index}/3") for index in order]
    assert [one is None for one in done] == [True, True, False]
    assert contents(tmp_path / "out") == expected
    assert run(source, tmp_path / "out", shard="0/3") is not None


def test_shards_at_once_write_the_same_bytes(source: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    commands = [
        subprocess.Popen(command(source, tmp_path / "out", "--shard", f"{index}/3"), **STREAMS) for index in range(3)
    ]
    texts = [one.communicate()[0] for one in commands]
    assert [one.returncode for one in commands] == [0, 0, 0], texts
    assert contents(tmp_path / "out") == expected
    assert sum("others are not" in text for text in texts) == 2


def test_array_reads_its_shard_from_the_cluster(
    source: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(2):
        monkeypatch.setenv("RANK", str(index))
        monkeypatch.setenv("WORLD_SIZE", "2")
        run(source, tmp_path / "out", engine="array")
    assert contents(tmp_path / "out") == expected


def test_engines_can_be_mixed_over_one_build(source: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(source, out, shard="2/4") is None
    assert run(source, out, shard="1/2", engine="processes") is None
    seen: list[int] = []

    def stop(progress: Any) -> None:
        seen.append(progress.done)
        if progress.done > COUNT * 0.8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(recipe_of(source), RunOptions(out=out, workers=1), stop)
    assert max(after - before for before, after in itertools.pairwise(seen)) >= PART, "parts of the shards are kept"
    run(source, out, engine="processes")
    assert contents(out) == expected


def test_finish_publishes_what_jobs_have_built(source: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out, shard="0/2")
    with pytest.raises(OutputError, match="4 parts of 9 are not built, the first is 1"):
        run(source, out, finish=True)
    # The second job ends, but another one seems to be at work, so that it leaves the end to that one.
    with BuildFolder(out, pending(out), shard=Shard(0, 2)) as folder:
        folder.resume()
        assert run(source, out, shard="1/2") is None
        with pytest.raises(BusyError, match="another process is building shard 0/2"):
            run(source, out)
    assert not (out / "manifest.json").exists()
    assert run(source, out, shard="0/2") is not None
    assert contents(out) == expected
    assert run(source, out, finish=True) is not None


def pending(out: Path) -> BuildIdentity:
    found = BuildFolder.find(out).pending
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["overwrite", "retry_failed", "update"])
def test_jobs_of_an_array_refuse_what_needs_the_others(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=f"--{name.replace('_', '-')} is not for the jobs of an array"):
        run(source, tmp_path / "out", shard="0/2", **{name: True})


def test_worker_that_is_killed_changes_nothing(source: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "lives").write_bytes(b"xx")
    deadly = {"name": "tests.fatal:Fatal", "records": ["10.png", "20.png"], "lives": str(tmp_path / "lives")}
    reference, out = tmp_path / "reference", tmp_path / "out"
    recipe = recipe_of(source, filters=[deadly])
    build(recipe, RunOptions(out=out, workers=2, engine="processes"))
    assert (tmp_path / "lives").read_bytes() == b""
    build(recipe, RunOptions(out=reference, workers=1))
    assert contents(out) == contents(reference)


def test_fatal_records_are_dropped_and_neighbours_stay(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fatal = {"name": "tests.fatal:Fatal", "records": ["10.png", "11.png", "25.png"]}
    out = tmp_path / "out"
    build(recipe_of(source, filters=[fatal]), RunOptions(out=out, workers=2, engine="processes"))
    check_account(out)
    dropped = dict.fromkeys(fatal["records"], "worker_died")
    assert reasons(out) == {"05.png": "not_an_image", **dropped}
    assert "its records are tried one by one" in caplog.text
    assert any(reason.may_pass_later for part in Manifest.read(out).parts for reason in part.tally.dropped["record"])


def test_object_is_used_in_this_process(source: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    class Seen:
        def refusal(self, record: Any) -> str | None:
            seen.append(os.getpid())
            return None

    dk.build(source, tmp_path / "out", part_size=PART, workers=2, filters=[Seen()])
    assert {*seen} == {os.getpid()}
    with pytest.raises(RecipeError, match="is an object of this process"):
        dk.build(source, tmp_path / "other", part_size=PART, engine="ray", filters=[Seen()])


def test_late_worker_damages_nothing(source: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    """A worker that was thought dead finishes its part after another one has, and after a new build has begun."""
    out = tmp_path / "out"
    run(source, out, shard="0/2")
    name = BuildFolder.find(out).build
    assert name is not None
    late = open_parts(out, name).attempt(0)
    late.shard_path("train").write_bytes(b"other bytes")
    part = open_parts(out, name).load(0)
    assert part is not None
    late.commit(name, part, StatisticsCounter(), (), (), None)
    stray = open_parts(out, "of another build").attempt(1)
    stray.commit("of another build", part, StatisticsCounter(), (), (), None)
    run(source, out)
    assert contents(out) == expected


def test_two_drivers_at_once_are_refused(
    source: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    refused: list[str] = []
    monkeypatch.setattr(datasetkit.export.output.opening, "WAIT_S", 0.2)

    def second(progress: Any) -> None:
        if progress.done and not refused:
            for how in ({}, {"overwrite": True}, {"shard": "0/2"}):
                with pytest.raises(BusyError) as caught:
                    run(source, out, **how)
                refused.append(str(caught.value))

    build(recipe_of(source), RunOptions(out=out, workers=2, engine="processes"), second)
    assert len(refused) == 3
    assert all("another process is building" in text for text in refused)
    assert contents(out) == expected


STREAMS: dict[str, Any] = {
    "stdout": subprocess.PIPE,
    "stderr": subprocess.STDOUT,
    "text": True,
    "cwd": REPOSITORY,
    "env": os.environ | {"OMP_NUM_THREADS": "1"},
}


def command(source: Path, out: Path, *more: str) -> list[str]:
    fixed = ["--part-size", str(PART), "--splits", "train=0.7,test=0.3", "--out", str(out)]
    return [sys.executable, "-m", "datasetkit", "build", "folder", str(source), *fixed, *more]


@pytest.mark.parametrize("seed", range(int(os.environ.get("DATASETKIT_KILLS", "3"))))
@pytest.mark.parametrize("engine", [("--engine", "processes", "--workers", "2"), ("--shard", "0/1")])
def test_killed_driver_is_resumed_to_the_same_bytes(
    source: Path, expected: dict[str, bytes], tmp_path: Path, engine: tuple[str, ...], seed: int
) -> None:
    out = tmp_path / "out"
    driver = subprocess.Popen(command(source, out, *engine), **STREAMS)
    killer = threading.Timer(random.Random(seed).uniform(0.5, 9), lambda: driver.send_signal(signal.SIGKILL))
    killer.start()
    driver.communicate()
    killer.cancel()
    done = subprocess.run(command(source, out, *engine), check=False, **STREAMS)
    assert done.returncode == 0, done.stdout
    assert contents(out) == expected
