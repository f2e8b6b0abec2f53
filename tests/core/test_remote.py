"""Files in stores: conditional writes, copies within the store, listings."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.addresses import hub_address
from datasetkit.core.errors import AddressError
from datasetkit.core.paths import as_place, is_inside, path_beside
from datasetkit.core.remote import RemotePath
from tests.buckets import Bucket


@pytest.fixture
def memory() -> RemotePath:
    return RemotePath(f"memory://remote-{uuid.uuid4().hex}")


@pytest.mark.slow
def test_one_of_many_creates_a_file(bucket: Bucket) -> None:
    path = RemotePath(bucket.address("locks"), "one.json")
    start = threading.Barrier(4)

    def create(number: int) -> bool:
        start.wait()
        return path.create(f"{number}".encode())

    assert path.create(b"first")
    assert not path.create(b"second")
    assert path.create(b"first"), "a request that is repeated after a lost response is no other writer"
    assert bucket.contents("locks") == {"one.json": b"first"}
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(create, range(4)))
    with pytest.raises(FileNotFoundError, match="there-is-no-such-bucket"):
        RemotePath("s3://there-is-no-such-bucket/x").create(b"1")


def test_create_repeats_a_conflict_and_reports_other_errors(
    memory: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    store = type(fsspec.filesystem("memory"))
    failures: list[Exception] = [OSError(16, "ConditionalRequestConflict"), PermissionError("no")]
    pipe_file = store.pipe_file

    def failing(self: Any, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        if failures and mode == "create":
            raise failures.pop(0)
        pipe_file(self, path, value, mode, **more)

    monkeypatch.setattr(store, "pipe_file", failing)
    with pytest.raises(PermissionError, match="access is refused"):
        (memory / "a").create(b"1")
    failures[:] = [OSError(16, "ConditionalRequestConflict")]
    assert (memory / "a").create(b"1")
    failures[:] = [OSError(16, "ConditionalRequestConflict")] * 3
    with pytest.raises(OSError, match="ConditionalRequestConflict"):
        (memory / "b").create(b"1")
    assert memory.children() == {"a"}


def test_store_without_conditions_is_looked_into_first(memory: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemotePath, "has_conditions", property(lambda _: False))
    assert (memory / "a").create(b"1")
    assert not (memory / "a").create(b"2")
    assert (memory / "a").read_bytes() == b"1"


@pytest.mark.slow
def test_missing_bucket_is_empty_only_if_that_is_wanted(bucket: Bucket) -> None:
    missing = RemotePath(f"s3://{bucket.name}-none/x")
    assert missing.files(missing_ok=True) == {}
    with pytest.raises(FileNotFoundError, match="does not exist"):
        missing.files()
    assert RemotePath(bucket.address("x")).files() == {}


@pytest.mark.slow
@pytest.mark.parametrize("largest", [None, 0])
def test_copy_keeps_bytes_and_digest(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int | None
) -> None:
    """Also of a file that is too large for a single request, whose parts are copied."""
    if largest is not None:
        monkeypatch.setattr("s3fs.core.MANAGED_COPY_THRESHOLD", largest)
    (tmp_path / "x").write_bytes(b"content")
    place = RemotePath(bucket.address("in"))
    (place / "x").send(tmp_path / "x", "ab" * 32, lambda _: None)
    (place / "x").copy_to(place / "to" / "y", "ab" * 32)
    assert bucket.contents("in") == {"x": b"content", "to/y": b"content"}
    assert (place / "to/y").sha256() == "ab" * 32
    with pytest.raises(FileNotFoundError):
        (place / "none").copy_to(place / "z", "ab" * 32)


def test_children_are_names_directly_below(memory: RemotePath) -> None:
    assert memory.children() == set()
    for name in ("a", "b/c", "b/d/e"):
        (memory / name).write_bytes(b"1")
    assert memory.children() == {"a", "b"}
    assert (memory / "b").children() == {"c", "d"}
    (memory / "a").remove()
    (memory / "a").remove()
    assert memory.children() == {"b"}


def test_parent_is_never_above_the_uri() -> None:
    path = RemotePath("s3://bucket/prefix", ".build/part")
    assert str(path.parent) == "s3://bucket/prefix/.build"
    assert str(path.parent.parent) == str(path.parent.parent.parent) == "s3://bucket/prefix"


def test_places_that_belong_together() -> None:
    out = RemotePath("s3://bucket/out")
    assert str(path_beside(out, "inputs.jsonl")) == "s3://bucket/out/.datasetkit/inputs.jsonl"
    assert path_beside(Path("/data/out"), "inputs.jsonl") == Path("/data/.out.inputs.jsonl")
    for place, folder, expected in [
        (out / "a", out, True),
        (out, out, True),
        (RemotePath("s3://bucket/outer"), out, False),
        (Path("out/a"), Path("out"), True),
        (Path("outer"), Path("out"), False),
        (Path("out"), out, False),
    ]:
        assert is_inside(place, folder) is expected


def test_bucket_of_the_hub_is_a_store_and_a_repository_is_not() -> None:
    address = "hf://buckets/user/name/prefix"
    assert hub_address(address, "dataset") is None
    place = as_place(address)
    assert isinstance(place, RemotePath)
    assert not place.has_conditions
    for repository in ("hf://datasets/user/name", "hf://user/name"):
        with pytest.raises(AddressError, match="to which only `datasetkit push FOLDER user/name` writes"):
            RemotePath(repository).write_bytes(b"1")
