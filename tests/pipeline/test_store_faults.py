"""Stores that fail in the middle of a build: it stops with a separate exit code, loses nothing, and can be resumed."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from datasetkit.core.errors import OutputError
from datasetkit.core.paths import as_place
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.buckets import Bucket
from tests.pipeline.builders import built, folder_recipe, make_image, put, reasons
from tests.pipeline.proxy import FaultyProxy
from tests.processes import command

pytestmark = pytest.mark.slow

OPTIONS = ["--part-size", "10", "--workers", "2", "--no-overlay"]


@pytest.fixture
def address(bucket: Bucket, tmp_path: Path) -> str:
    return bucket.upload(put(tmp_path / "in", {f"{n:02d}.png": make_image(n) for n in range(40)}), "in")


def run(bucket: Bucket, proxy: FaultyProxy, *arguments: object) -> tuple[int, list[str]]:
    env = {**os.environ, **bucket.environment, "AWS_ENDPOINT_URL": proxy.address, "AWS_MAX_ATTEMPTS": "1"}
    done = subprocess.run(command(*arguments), env=env, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]


# The store's client retries a dropped connection for seconds, so fewer of them are used.
@pytest.mark.parametrize(
    ("fault", "options", "told"),
    [
        ("500", (), "20 images in a row could not be read"),
        ("403", (), "20 images in a row could not be read"),
        ("dropped", ("--max-failures", "2"), "2 images could not be read"),
    ],
)
def test_failing_store_stops_a_build(
    bucket: Bucket, proxy: FaultyProxy, address: str, tmp_path: Path, fault: str, options: tuple[str, ...], told: str
) -> None:
    arguments = ["build", "folder", address, "--out", str(tmp_path / "out"), *OPTIONS, *options]
    proxy.fault, proxy.after = fault, 30
    code, lines = run(bucket, proxy, *arguments, "--overwrite")
    assert code == 3
    assert told in lines[-1]
    again = shlex.join(["datasetkit", *arguments])
    assert lines[-1].endswith(f"finished parts are kept; when the source answers again, run: {again}")
    assert len(list((tmp_path / "out/.build").glob("part-*.json"))) <= 1, "parts with such failures are not finished"
    proxy.fault = None
    code, lines = run(bucket, proxy, *arguments)
    assert code == 0
    recipe = folder_recipe(tmp_path / "in", part_size=10, overlay=False)
    assert Manifest.read(tmp_path / "out").parts == built(recipe, tmp_path / "here")[0].parts
    assert Manifest.read(tmp_path / "out").tally.kept["record"] == 40


def test_slow_store_is_only_slow(bucket: Bucket, proxy: FaultyProxy, address: str, tmp_path: Path) -> None:
    proxy.fault = "slow"
    assert run(bucket, proxy, "build", "folder", address, "--out", tmp_path / "out", *OPTIONS)[0] == 0
    assert reasons(tmp_path / "out") == {}


def test_one_refused_image_is_a_drop(bucket: Bucket, proxy: FaultyProxy, address: str, tmp_path: Path) -> None:
    proxy.fault, proxy.name = "403", "07.png"
    code, lines = run(bucket, proxy, "build", "folder", address, "--out", tmp_path / "out", *OPTIONS)
    assert code == 0
    assert "later        1 record may succeed later (unreadable: 07.png): --retry-failed reads them again" in lines
    assert reasons(tmp_path / "out") == {"07.png": "unreadable"}
    proxy.fault = None
    assert run(bucket, proxy, "build", "folder", address, "--out", tmp_path / "out", *OPTIONS, "--retry-failed")[0] == 0
    assert reasons(tmp_path / "out") == {}


def test_changed_object_is_noticed_by_its_etag(bucket: Bucket, tmp_path: Path) -> None:
    address = bucket.upload(put(tmp_path / "in", {f"{n:02d}.png": make_image(n % 5) for n in range(70)}), "in")
    recipe = folder_recipe(as_place(address), part_size=10, overlay=False)
    before, _ = built(recipe, tmp_path / "out")
    bucket.write("in/66.png", make_image(1))
    assert built(recipe, tmp_path / "out")[0] == before, "written again, the bytes are the same"
    bucket.write("in/66.png", make_image(7))
    with pytest.raises(OutputError, match=r"the source has changed since \(66\.png has .*\); --update"):
        build(recipe, RunOptions(out=tmp_path / "out", workers=2))
    after, _ = built(recipe, tmp_path / "out", update=True)
    assert [old == new for old, new in zip(before.parts, after.parts, strict=True)] == [True] * 6 + [False]
