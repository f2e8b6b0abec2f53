"""Builds on Ray: started here, and on a cluster of two machines."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import datasetkit as dk
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.pipeline.builders import check_account, contents, folder_recipe, make_image, put, reasons
from tests.processes import command, interrupt, start

ray = pytest.importorskip("ray", reason="Ray is tested in an environment of its own: make test-ray")
pytestmark = pytest.mark.slow
COUNT, PART = 26, 3
IMAGES = {f"{number:02}.png": make_image(number) for number in range(COUNT)} | {"05.png": b"no image"}
# An image of this size in Ray's object store would be seen.
LARGE = make_image(99, (700, 900))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("source") / "in", IMAGES | {"12.png": LARGE})


def recipe_of(source: Path, **options: Any) -> Recipe:
    return folder_recipe(source, part_size=PART, splits={"train": 0.7, "test": 0.3}, **options)


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("expected") / "out"
    build(recipe_of(source), RunOptions(out=out, workers=1))
    return contents(out)


def arguments(source: Path, out: Path, *more: str) -> list[object]:
    fixed = ["--part-size", PART, "--splits", "train=0.7,test=0.3", "--engine", "ray", "--workers", 2]
    return ["build", "folder", source, *fixed, "--out", out, *more]


def plain_environment(home: Path) -> dict[str, str]:
    """Variables of a user who has never heard of Ray."""
    home.mkdir()
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(home)}


def test_command_on_ray_writes_the_same_bytes(source: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    done = subprocess.run(
        command(*arguments(source, tmp_path / "out", "--json")),
        env=plain_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == COUNT - 1
    assert contents(tmp_path / "out") == expected
    assert not (tmp_path / "home" / ".ray").exists(), "no token is left behind"
    assert not [line for line in done.stderr.splitlines() if "ray" in line.lower()], done.stderr


def test_actor_that_is_killed_three_times_changes_nothing(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lives").write_bytes(b"xxx")
    deadly = {"name": "tests.fatal:Fatal", "records": ["10.png", "20.png"], "lives": str(tmp_path / "lives")}
    recipe = recipe_of(source, filters=[deadly])
    build(recipe, RunOptions(out=tmp_path / "out", workers=2, engine="ray"))
    assert caplog.text.count("another one takes its place") == 3
    build(recipe, RunOptions(out=tmp_path / "reference", workers=1))
    assert contents(tmp_path / "out") == contents(tmp_path / "reference")


def test_cluster_writes_the_same_bytes_without_its_store(
    cluster: str, source: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    stored: set[float] = set()

    def look(_: Any) -> None:
        if ray.is_initialized():
            name = "object_store_memory"
            stored.add(ray.cluster_resources()[name] - ray.available_resources()[name])

    run = RunOptions(out=tmp_path / "out", workers=2, engine="ray", ray_address=cluster)
    build(recipe_of(source), run, look)
    assert contents(tmp_path / "out") == expected
    assert stored == {0.0}


def test_verification_and_exports_run_on_a_cluster(
    cluster: str, source: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    for name, data in expected.items():
        put(tmp_path / "in", {name: data})
    built = dk.open(tmp_path / "in")
    how: dict[str, Any] = {"engine": "ray", "workers": 2, "ray_address": cluster}
    assert built.verify(**how).is_sound
    built.export("coco", tmp_path / "here", workers=1)
    built.export("coco", tmp_path / "there", **how)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    shard = next(iter(sorted((tmp_path / "in" / "data").iterdir())))
    shard.write_bytes(shard.read_bytes()[:-8])
    assert not built.verify(**how).is_sound


def test_fatal_records_are_dropped_and_neighbours_stay(cluster: str, source: Path, tmp_path: Path) -> None:
    fatal = {"name": "tests.fatal:Fatal", "records": ["25.png"]}
    run = RunOptions(out=tmp_path / "out", workers=2, engine="ray", ray_address=cluster)
    build(recipe_of(source, filters=[fatal]), run)
    check_account(tmp_path / "out")
    assert reasons(tmp_path / "out") == {"05.png": "not_an_image", "25.png": "worker_died"}


def test_engines_can_be_mixed_over_one_build(
    cluster: str, source: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    recipe, out = recipe_of(source), tmp_path / "out"
    assert build(recipe, RunOptions(out=out, workers=1, shard="1/4")) is None

    def stop(progress: Any) -> None:
        if progress.done > COUNT * 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(recipe, RunOptions(out=out, workers=2, engine="ray", ray_address=cluster), stop)
    assert not ray.is_initialized()
    build(recipe, RunOptions(out=out, workers=2, engine="processes"))
    assert contents(out) == expected


def test_interrupted_command_ends_at_once_and_is_resumed(
    source: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(*arguments(source, out), env=plain_environment(tmp_path / "home"))
    interrupt(process, lambda: out.exists() and any("part-00000" in name for name in contents(out)))
    build(recipe_of(source), RunOptions(out=out, workers=1))
    assert contents(out) == expected


def test_command_terminated_while_ray_starts_says_so(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(*arguments(source, out), env=plain_environment(tmp_path / "home"))
    sessions = Path("/tmp/ray")
    while not [*sessions.glob(f"session_*_{process.pid}")]:
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert errors.splitlines()[-1].startswith("terminated; finished parts are kept")
    assert "***" not in errors


@pytest.mark.parametrize("seed", range(int(os.environ.get("DATASETKIT_KILLS", "2"))))
def test_killed_driver_is_resumed_to_the_same_bytes(
    cluster: str, source: Path, expected: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    out, moment = tmp_path / "out", random.Random(seed)
    begun, delay = f"part-0000{moment.randrange(-(-COUNT // PART))}", moment.uniform(0, 0.1)
    driver = start(*arguments(source, out, "--ray-address", cluster))
    while driver.poll() is None and not [*out.rglob(f"*{begun}*")]:
        time.sleep(0.01)
    time.sleep(delay)
    driver.kill()
    driver.communicate()
    build(recipe_of(source), RunOptions(out=out, workers=2, engine="ray", ray_address=cluster))
    assert contents(out) == expected
