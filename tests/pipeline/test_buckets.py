"""Builds in an object store: the bytes of a local build, whatever is killed, late, refused or started twice."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import datasetkit as dk
from datasetkit.core.errors import BusyError, OutputError
from datasetkit.core.files import file_sha256
from datasetkit.core.paths import as_place
from datasetkit.core.remote import RemotePath
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.output import leases, opening
from datasetkit.export.output.bucket import BuildBucket
from datasetkit.export.output.opening import open_parts
from datasetkit.export.publish.store import push as store
from datasetkit.export.statistics.counter import StatisticsCounter
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from datasetkit.pipeline.splits import split_by_hash
from tests.buckets import Bucket
from tests.conftest import REPOSITORY
from tests.core.images import encode, noise
from tests.pipeline.bucket_killing import BESIDE, published
from tests.pipeline.builders import contents, folder_recipe, make_image, put
from tests.pipeline.proxy import FaultyProxy
from tests.processes import command

pytestmark = pytest.mark.slow

COUNT, PART = 12, 2
SPLITS = {"train": 0.6, "test": 0.4}
OPTIONS = ["--part-size", str(PART), "--splits", "train=.6,test=.4", "--no-overlay", "--workers", "2"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files: dict[str, bytes | str] = {f"{n:02d}.png": make_image(n) for n in range(COUNT)}
    return put(tmp_path / "in", {**files, "05.png": files["05.png"][:200]})


@pytest.fixture
def expected(source: Path, tmp_path: Path) -> dict[str, bytes]:
    build(recipe_of(source), RunOptions(out=tmp_path / "expected", workers=2))
    return contents(tmp_path / "expected")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def recipe_of(source: Path, **options: Any) -> Recipe:
    return folder_recipe(source, **{"part_size": PART, "splits": SPLITS, "overlay": False, **options})


def run(source: Path, out: object, **how: Any) -> Manifest | None:
    return build(recipe_of(source), RunOptions.checked({"out": out, "workers": 2, **how}))


def by_command(
    proxy: FaultyProxy, source: Path, out: str, *options: object, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Build in a process of its own, whose requests go through a proxy."""
    env = {**os.environ, "AWS_ENDPOINT_URL": proxy.address, "AWS_MAX_ATTEMPTS": "1", **variables}
    arguments = command("build", "folder", source, "--out", out, *options)
    return subprocess.run(arguments, env=env, capture_output=True, text=True, check=False)


def set_times(monkeypatch: pytest.MonkeyPatch, *, renew_s: float, stale_s: float) -> None:
    monkeypatch.setattr(leases, "RENEW_S", renew_s)
    monkeypatch.setattr(leases, "STALE_S", stale_s)
    monkeypatch.setattr(leases, "POLL_S", 0.02)


def test_bucket_has_the_bytes_of_a_local_build(
    bucket: Bucket, source: Path, expected: dict[str, bytes], tmp_path: Path, scratch: Path
) -> None:
    built = dk.build(source, bucket.address("out"), part_size=PART, splits=SPLITS, overlay=False)
    assert published(bucket, "out") == expected
    assert {*bucket.contents("out")} - {*expected} == BESIDE
    for name in expected:
        assert bucket.digest(f"out/{name}") == file_sha256(tmp_path / "expected" / name)
    assert not list(scratch.iterdir())
    assert (str(built.path), len(built)) == (bucket.address("out"), COUNT - 1)
    assert built.verify().is_sound
    assert f"wrote        {bucket.address('out')}" in [*built.report()]
    # A push of the local build sends nothing: the objects are known as ours by their metadata.
    assert store.plan(tmp_path / "expected", RemotePath(bucket.address("out"))).sent == ()


def test_complete_build_is_left_as_it_is(
    bucket: Bucket, source: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run(source, bucket.address("out"))
    before = bucket.written("out")
    # What a process left that was killed after it had published is removed.
    bucket.write("out/.build/0123/part-00000.json", b"{}")
    with caplog.at_level("INFO"):
        assert run(source, bucket.address("out")) is not None
    assert "is complete already; nothing to do" in caplog.text
    assert bucket.written("out") == before
    for change, message in (({"limit": 4}, "contains another build"), ({}, "the source has changed since")):
        (source / "00.png").write_bytes(make_image(99))
        with pytest.raises(OutputError, match=message):
            build(recipe_of(source, **change), RunOptions(out=as_place(bucket.address("out"))))
    assert bucket.written("out") == before


def test_publishing_reads_no_whole_shard(bucket: Bucket, proxy: FaultyProxy, tmp_path: Path) -> None:
    source = put(tmp_path / "big", {f"{n:02d}.png": encode(noise((500, 700), n), "PNG") for n in range(24)})
    done = by_command(proxy, source, bucket.address("out"), "--part-size", 6)
    assert done.returncode == 0, done.stderr
    manifest = Manifest.read(as_place(bucket.address("out")))
    ranges = [found for method, path, found in proxy.seen if method == "GET" and ".parquet" in path]
    assert all(ranges), "every read of a shard is one of a range"
    total = sum(int(end) - int(start) + 1 for start, end in (re.findall(r"\d+", found) for found in ranges))
    assert 0 < total < 0.3 * sum(shard.bytes for shard in manifest.shards)
    copies = [path for method, path, _ in proxy.seen if method == "PUT" and "/data/" in path]
    assert len(copies) == len(manifest.shards)
    # Nothing is sent twice: shards reach their published names by copies within the store.
    sent = [path for method, path, _ in proxy.seen if method == "PUT" and path.endswith(".parquet")]
    assert len(sent) == 2 * len(manifest.shards)


@pytest.mark.parametrize(
    "tasks",
    [("fresh:before:47", "fresh:after:59"), ("update:before:83",), ("retry_failed:after:97", "overwrite:after:107")],
)
def test_build_killed_at_a_request_ends_in_the_same_bytes(
    bucket: Bucket, tmp_path: Path, tasks: tuple[str, ...]
) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    arguments = [sys.executable, "-m", "tests.pipeline.bucket_killing", bucket.name, str(tmp_path), *tasks]
    done = subprocess.run(
        arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    for task, line in zip(tasks, done.stdout.splitlines(), strict=True):
        assert int(line.removeprefix(f"{task}: ")) >= 2


def test_second_driver_is_refused(
    bucket: Bucket, source: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_times(monkeypatch, renew_s=0.05, stale_s=60)
    monkeypatch.setattr(opening, "WAIT_S", 0.1)
    out, refused = as_place(bucket.address("out")), []

    def second(progress: Any) -> None:
        if progress.done and not refused:
            for how in ({}, {"overwrite": True}, {"shard": "0/2"}):
                with pytest.raises(BusyError) as caught:
                    run(source, out, **how)
                refused.append(str(caught.value))

    build(recipe_of(source), RunOptions(out=out, workers=2), second)
    assert len(refused) == 3
    assert all(f"another process is building {out} (process {os.getpid()} on " in text for text in refused)
    assert published(bucket, "out") == expected


def test_driver_that_was_taken_over_publishes_nothing(
    bucket: Bucket, source: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first driver sleeps until the second has published; what it does then changes nothing."""
    set_times(monkeypatch, renew_s=3600, stale_s=0.1)
    out, moments = as_place(bucket.address("out")), []

    def asleep(progress: Any) -> None:
        if progress.done == PART and not moments:
            moments.append("second")
            run(source, out)
            moments.append(published(bucket, "out"))

    with pytest.raises(BusyError, match="another one has taken over its work"):
        build(recipe_of(source), RunOptions(out=out, workers=2), asleep)
    assert moments[1] == expected
    found = published(bucket, "out")
    assert {name: data for name, data in found.items() if not name.startswith(".build/")} == expected
    # The parts that it built after that are of no build; the next one removes them.
    assert found.keys() > expected.keys()
    run(source, out)
    assert {*bucket.contents("out")} == {*expected, *BESIDE}


def test_driver_taken_over_during_the_exchange_stops(
    bucket: Bucket, source: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_times(monkeypatch, renew_s=3600, stale_s=0.1)
    out, copied = as_place(bucket.address("out")), []
    copy = RemotePath.copy_to

    def late(path: RemotePath, target: RemotePath, sha256: str) -> None:
        copied.append(target)
        if len(copied) == 3:
            assert run(source, out) is not None
        copy(path, target, sha256)

    monkeypatch.setattr(RemotePath, "copy_to", late)
    with pytest.raises(BusyError):
        run(source, out)
    assert published(bucket, "out") == expected


def test_late_worker_damages_nothing(bucket: Bucket, source: Path, expected: dict[str, bytes]) -> None:
    out = as_place(bucket.address("out"))
    run(source, out, shard="0/2")
    name = BuildBucket.find(out).build
    assert name is not None
    late = open_parts(out, name).attempt(0)
    late.shard_path("train").write_bytes(b"other bytes")
    part = open_parts(out, name).load(0)
    assert part is not None
    late.note(name, part, StatisticsCounter(), (), None)
    late.discard()
    stray = open_parts(out, "of another build").attempt(1)
    stray.note("of another build", part, StatisticsCounter(), (), None)
    run(source, out)
    assert published(bucket, "out") == expected
    # One that ends after the dataset was published leaves files that the next build removes.
    stray.note(name, part, StatisticsCounter(), (), None)
    run(source, out)
    assert {*bucket.contents("out")} == {*expected, *BESIDE}


@pytest.mark.parametrize(
    ("name", "after"), [(".parquet", 3), ("part-00003.json", 0), ("exchange.json", 0), ("out/data", 2)]
)
def test_failing_store_loses_nothing(
    bucket: Bucket,
    proxy: FaultyProxy,
    source: Path,
    expected: dict[str, bytes],
    scratch: Path,
    name: str,
    after: int,
) -> None:
    proxy.fault, proxy.name, proxy.after, proxy.method = "500", name, after, "PUT"
    done = by_command(proxy, source, bucket.address("out"), *OPTIONS, TMPDIR=str(scratch))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {bucket.address('out')}/")
    assert "Traceback" not in done.stderr
    assert not list(scratch.iterdir())
    assert not any(key.startswith(("data/", "manifest")) for key in bucket.contents("out")) or name == "out/data"
    proxy.fault = None
    run(source, bucket.address("out"))
    assert without_recipe(published(bucket, "out")) == without_recipe(expected)


def without_recipe(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Leave out what differs because plots are drawn by the command line, and not here."""
    return {name: data for name, data in files.items() if name.startswith(("data/", "ledger", "statistics"))}


def test_another_machine_continues_with_nothing_of_the_first(
    bucket: Bucket, source: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_times(monkeypatch, renew_s=3600, stale_s=0.1)
    out, seen = bucket.address("out"), []

    def stop(progress: Any) -> None:
        if progress.done == COUNT // 2:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(leases, "_machine", lambda: "of the first machine")
        patch.setattr(leases.Lease, "release", lambda _: None)
        with pytest.raises(MemoryError):
            build(recipe_of(source), RunOptions(out=as_place(out), workers=2), stop)
    for name in ("home", "temporary", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    build(recipe_of(source), RunOptions(out=as_place(out), workers=2), lambda progress: seen.append(progress.done))
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert max(steps) >= PART, "parts that the first machine built are kept"
    assert published(bucket, "out") == expected
    assert not [
        *(tmp_path / "home").iterdir(),
        *(tmp_path / "temporary").iterdir(),
        *(tmp_path / "elsewhere").iterdir(),
    ]


@pytest.mark.parametrize("order", [("2/3", "0/3", "1/3")])
def test_shards_of_an_array_end_in_the_same_bytes(
    bucket: Bucket, source: Path, expected: dict[str, bytes], order: tuple[str, ...]
) -> None:
    for shard in order[:-1]:
        assert run(source, bucket.address("out"), shard=shard) is None
    with pytest.raises(OutputError, match="2 parts of 6 are not built"):
        run(source, bucket.address("out"), finish=True)
    assert run(source, bucket.address("out"), shard=order[-1]) is not None
    assert published(bucket, "out") == expected
    assert run(source, bucket.address("out"), finish=True) is not None


def test_shards_at_once_end_in_the_same_bytes(bucket: Bucket, source: Path, expected: dict[str, bytes]) -> None:
    jobs = [
        subprocess.Popen(
            command("build", "folder", source, "--out", bucket.address("out"), *OPTIONS, "--shard", f"{index}/3"),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(3)
    ]
    told = [job.communicate()[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], told
    assert without_recipe(published(bucket, "out")) == without_recipe(expected)
    assert not any(key.startswith(".build/") for key in bucket.contents("out"))


@pytest.mark.parametrize("how", ["update", "retry_failed", "overwrite"])
def test_replacement_equals_the_local_one(bucket: Bucket, source: Path, tmp_path: Path, how: str) -> None:
    """Also where kept shards get other numbers, so that each takes the former name of another."""
    out, local = as_place(bucket.address("out")), tmp_path / "local"
    train, test = (images_in(split) for split in SPLITS)
    fill(source, {2: next(test), 3: next(test), 6: next(train), 7: next(train)})
    before, _ = run(source, out), run(source, local)
    if how == "retry_failed":
        fill(source, {5: next(train)})
    else:
        fill(source, {2: next(train), 3: next(train), 6: next(test), 7: next(test)})
    after, _ = run(source, out, **{how: True}), run(source, local, **{how: True})
    assert published(bucket, "out") == contents(local)
    assert dk.open(str(out)).verify().is_sound
    assert before is not None
    assert after is not None
    if how == "update":
        names = {shard.sha256: shard.path for shard in before.shards}
        moved = [shard for shard in after.shards if names.get(shard.sha256, shard.path) != shard.path]
        assert {shard.path for shard in moved} & {*names.values()}, "a kept shard takes the former name of another"
    fill(source, {0: make_image(50)})
    for place in (out, local):
        with pytest.raises(OutputError, match="--update"):
            run(source, place)


def images_in(split: str) -> Iterator[bytes]:
    """Yield images that are assigned to a split."""
    images = (make_image(seed) for seed in itertools.count(100))
    return (data for data in images if split_by_hash(hashlib.sha256(data).hexdigest(), SPLITS) == split)


def fill(source: Path, images: Mapping[int, bytes]) -> None:
    for number, data in images.items():
        (source / f"{number:02d}.png").write_bytes(data)


def test_engines_can_be_mixed_over_one_build(bucket: Bucket, source: Path, expected: dict[str, bytes]) -> None:
    out = as_place(bucket.address("out"))
    assert run(source, out, shard="0/3") is None
    assert run(source, out, engine="processes", workers=2) is not None
    assert published(bucket, "out") == expected


def test_push_into_an_unfinished_build_is_refused(bucket: Bucket, source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "local")
    run(source, bucket.address("out"), shard="0/3")
    with pytest.raises(OutputError, match="has an unfinished build; finish it by its command"):
        store.push(tmp_path / "local", RemotePath(bucket.address("out")))


def test_dataset_in_memory_equals_the_local_one(source: Path, expected: dict[str, bytes]) -> None:
    place = RemotePath(f"memory://built-{uuid.uuid4().hex}/out")
    run(source, place)
    files = {name: (place / name).read_bytes() for name in place.files()}
    assert {name: data for name, data in files.items() if name not in BESIDE} == expected
    elsewhere = RemotePath(f"memory://built-{uuid.uuid4().hex}/out")
    with pytest.raises(OutputError, match="all workers must see the same place"):
        run(source, elsewhere, engine="processes")


def test_places_with_other_contents_are_refused(bucket: Bucket, source: Path) -> None:
    bucket.write("full/notes.txt", b"mine")
    bucket.write("in/00.png", make_image(0))
    run(source, bucket.address("mixed"))
    bucket.write("mixed/data/train-extra.parquet", b"mine")
    for place, how, message in [
        (bucket.address("full"), {}, "is not empty and contains no build"),
        ("s3://there-is-no-such-bucket/out", {}, "there is no such bucket; create it first"),
        (bucket.address("mixed"), {"overwrite": True}, "train-extra.parquet, which is not of the dataset there"),
    ]:
        with pytest.raises(OutputError, match=message):
            run(source, place, **how)
    with pytest.raises(OutputError, match="is inside the source's folder"):
        build(folder_recipe(as_place(bucket.address("in"))), RunOptions(out=as_place(bucket.address("in/out"))))
    assert bucket.contents("full") == {"notes.txt": b"mine"}
