"""Pushing from an object store to the Hub: as from a folder, with one shard at a time on this disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import datasetkit as dk
from datasetkit.core.errors import BuiltFolderError, HubError, OutputError
from datasetkit.core.remote import RemotePath
from datasetkit.export.publish.hub.built_dataset import StoredDataset
from datasetkit.export.publish.hub.push import push
from datasetkit.export.publish.hub.results import Plan, Pushed
from datasetkit.export.publish.store import push as store
from tests.buckets import Bucket
from tests.export.publish.pushing import HASTY, NAME, expected, held, local, sent_objects
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow


@pytest.fixture
def stored(bucket: Bucket, scenes: Path) -> RemotePath:
    place = RemotePath(bucket.address("scenes"))
    store.push(scenes, place)
    return place


def push_from(hub: HubServer, place: RemotePath, **options: object) -> Plan | Pushed:
    values: dict[str, object] = {"endpoint": hub.endpoint, "token": hub.token, "patience": HASTY, **options}
    return push(place, NAME, read=StoredDataset.read, **values)  # type: ignore[arg-type]


def test_hub_gets_what_a_push_of_the_folder_sends(
    hub: HubServer, stored: RemotePath, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    seen: list[int] = []
    fetch = RemotePath.fetch

    def counted(path: RemotePath, target: Path) -> None:
        fetch(path, target)
        seen.append(len(list(temporary.rglob("*.parquet"))))

    monkeypatch.setattr(RemotePath, "fetch", counted)
    plan = push_from(hub, stored, dry_run=True)
    assert isinstance(plan, Plan)
    assert {path for path, _ in plan.sent} == {*local(scenes)}
    assert not any(seen), "a dry run fetches no shard"
    pushed = push_from(hub, stored, tag="v1")
    assert isinstance(pushed, Pushed)
    assert held(hub, "v1") == expected(hub, scenes)
    assert (pushed.sent_files, pushed.skipped_files) == (len(local(scenes)), 0)
    assert pushed.not_published == ()
    assert max(seen) == 1
    assert sum(seen) == len(list((scenes / "data").iterdir()))
    assert not list(temporary.iterdir())
    # Again, nothing is sent or fetched.
    seen.clear()
    before = sent_objects(hub)
    again = push_from(hub, stored)
    assert isinstance(again, Pushed)
    assert again.sent_files == 0
    assert not any(seen)
    assert sent_objects(hub) == before


def test_public_function_and_command_push_from_a_store(
    hub: HubServer, stored: RemotePath, scenes: Path, bucket: Bucket
) -> None:
    bucket.write("scenes/.datasetkit/inputs.jsonl", b"paths of a machine")
    bucket.write("scenes/notes.txt", b"mine")
    pushed = dk.open(str(stored)).push(NAME, token=hub.token)
    assert isinstance(pushed, Pushed)
    assert held(hub) == expected(hub, scenes)
    assert pushed.not_published == ("notes.txt",)
    with pytest.raises(OutputError, match="is pushed to the Hub only, not to s3://other/x"):
        dk.open(str(stored)).push("s3://other/x")
    with pytest.raises(OutputError, match="--adapter is for a folder on this machine"):
        dk.open(str(stored)).push(NAME, adapter=True)


def test_shard_with_other_bytes_is_not_pushed(hub: HubServer, stored: RemotePath, bucket: Bucket) -> None:
    shard = next(name for name in bucket.contents("scenes") if name.startswith("data/test"))
    data = bucket.contents("scenes")[shard]
    for change, message in [
        (data[:-1], "does not match the manifest"),
        (data[:100] + bytes([data[100] ^ 1]) + data[101:], "has other bytes than its manifest says"),
    ]:
        bucket.write(f"scenes/{shard}", change)
        with pytest.raises(BuiltFolderError, match=message):
            push_from(hub, stored)
    bucket.delete(f"scenes/{shard}")
    with pytest.raises(BuiltFolderError, match="does not match the manifest"):
        push_from(hub, stored)
    assert not hub.repository(NAME).files("main").keys() - {".gitattributes"}


def test_unfinished_or_damaged_datasets_are_refused(hub: HubServer, stored: RemotePath, bucket: Bucket) -> None:
    manifest = json.loads(bucket.contents("scenes")["manifest.json"])
    state = {name: manifest[name] for name in ("recipe", "source_fingerprint", "schema_version", "code_version")}
    state |= {"models": [], "plugins": [], "build": "0123", "task": "build"}
    bucket.write("scenes/.build/state.json", json.dumps(state).encode())
    bucket.write("scenes/.build/0123/exchange.json", b"{}")
    with pytest.raises(BuiltFolderError, match="is not finished"):
        push_from(hub, stored, dry_run=True)
    bucket.delete("scenes/.build/0123/exchange.json")
    assert isinstance(push_from(hub, stored, dry_run=True), Plan)
    bucket.write("scenes/README.md", b"---\nbroken: [\n---\n")
    with pytest.raises((BuiltFolderError, HubError), match=r"README\.md cannot be published"):
        push_from(hub, stored, dry_run=True)
    bucket.delete("scenes/ledger.jsonl")
    with pytest.raises(BuiltFolderError, match=r"has no ledger\.jsonl"):
        push_from(hub, stored, dry_run=True)
