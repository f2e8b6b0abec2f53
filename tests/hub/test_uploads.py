from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import BadRequestError, EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError

from tests.hub.clients import talk_to
from tests.hub.server import HubServer
from tests.hub.store import Repository

PART = 1 << 20
LARGE = os.urandom(2 * PART + 17)
SHA256 = hashlib.sha256(LARGE).hexdigest()


def commit(api: HfApi, *operations: Any, **how: Any) -> str:
    return api.create_commit("user/name", operations, commit_message="Say it", repo_type="dataset", **how).oid


def test_a_folder_is_uploaded_in_one_commit(hub: HubServer, api: HfApi, repository: Repository, tmp_path: Path) -> None:
    files = {"README.md": b"---\nlicense: mit\n---\n", "data/a.parquet": LARGE, "data/b.txt": b"b", "none.txt": b""}
    for path, content in files.items():
        (tmp_path / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / path).write_bytes(content)
    made = api.upload_folder(repo_id=repository.id, folder_path=tmp_path / "out", repo_type="dataset")
    assert made.oid == repository.head
    assert made.commit_url == f"{hub.endpoint}/datasets/user/name/commit/{made.oid}"
    assert {path: repository.read(path) for path in files} == files
    assert [commit.author for commit in repository.history()] == ["user", "somebody"]


def test_a_large_file_comes_in_parts(hub: HubServer, api: HfApi, repository: Repository) -> None:
    commit(api, CommitOperationAdd("a.parquet", LARGE))
    assert hub.traffic.received == {SHA256: {1: PART, 2: PART, 3: 17}}
    assert hub.traffic.completed == {SHA256: 1}
    assert hub.traffic.bytes_received() == len(LARGE)
    assert (hub.traffic.count("lfs-part"), hub.traffic.count("lfs-put")) == (3, 0)


def test_a_small_one_comes_whole(hub: HubServer, api: HfApi, repository: Repository) -> None:
    commit(api, CommitOperationAdd("a.parquet", LARGE[:PART]))
    assert (hub.traffic.count("lfs-part"), hub.traffic.count("lfs-put")) == (0, 1)
    assert repository.read("a.parquet") == LARGE[:PART]


def test_the_size_of_parts_is_the_servers_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer(part_bytes=1000) as hub:
        talk_to(hub, tmp_path, monkeypatch)
        hub.create("user/name")
        commit(HfApi(), CommitOperationAdd("a.parquet", LARGE[:4000]))
        assert hub.repository("user/name").read("a.parquet") == LARGE[:4000]
    assert hub.traffic.count("lfs-part") == 4


def test_what_was_uploaded_before_is_not_sent_again(hub: HubServer, api: HfApi, repository: Repository) -> None:
    api.preupload_lfs_files(repository.id, [CommitOperationAdd("a.parquet", LARGE)], repo_type="dataset")
    assert "a.parquet" not in repository.files()
    commit(api, CommitOperationAdd("b.parquet", LARGE), CommitOperationAdd("c.txt", b"c"))
    assert hub.traffic.completed == {SHA256: 1}
    assert repository.read("b.parquet") == LARGE


def test_another_repository_must_send_its_own(hub: HubServer, api: HfApi, repository: Repository) -> None:
    hub.create("user/other")
    commit(api, CommitOperationAdd("a.parquet", LARGE))
    api.upload_file(path_or_fileobj=LARGE, path_in_repo="a.parquet", repo_id="user/other", repo_type="dataset")
    assert hub.traffic.completed == {SHA256: 2}


def test_nothing_is_committed_where_nothing_changed(hub: HubServer, api: HfApi, repository: Repository) -> None:
    first = commit(api, CommitOperationAdd("a.parquet", LARGE), CommitOperationAdd("b.txt", b"b"))
    again = commit(api, CommitOperationAdd("a.parquet", LARGE), CommitOperationAdd("b.txt", b"b"))
    assert (again, hub.traffic.count("commit")) == (first, 1)


def test_files_and_folders_are_deleted_and_copied(hub: HubServer, api: HfApi, repository: Repository) -> None:
    repository.write({"a.txt": b"a", "old/b.txt": b"b", "old/deep/c.parquet": LARGE})
    before = repository.head
    commit(
        api,
        CommitOperationCopy("old/deep/c.parquet", "kept/c.parquet"),
        CommitOperationCopy("old/b.txt", "kept/b.txt"),
        CommitOperationDelete("a.txt"),
        CommitOperationDelete("old/"),
    )
    assert set(repository.files()) == {".gitattributes", "kept/c.parquet", "kept/b.txt"}
    assert repository.read("kept/c.parquet") == LARGE
    assert set(repository.files(before)) == {".gitattributes", "a.txt", "old/b.txt", "old/deep/c.parquet"}
    assert hub.traffic.completed == {}


def test_a_commit_is_all_or_nothing(hub: HubServer, api: HfApi, repository: Repository) -> None:
    before = repository.head
    with pytest.raises(EntryNotFoundError):
        commit(api, CommitOperationAdd("a.txt", b"a"), CommitOperationDelete("nowhere.txt"))
    assert repository.head == before


def test_a_commit_on_a_head_that_moved_is_refused(hub: HubServer, api: HfApi, repository: Repository) -> None:
    seen = repository.head
    moved = repository.write({"other.txt": b"theirs"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
        commit(api, CommitOperationAdd("a.txt", b"a"), parent_commit=seen)
    assert caught.value.response.status_code == 412
    assert repository.head == moved
    commit(api, CommitOperationAdd("a.txt", b"a"), parent_commit=moved)
    assert repository.read("a.txt") == b"a"


def test_a_commit_goes_to_a_branch_that_is_there(hub: HubServer, api: HfApi, repository: Repository) -> None:
    main = repository.head
    api.create_branch(repository.id, branch="next/one", repo_type="dataset")
    made = commit(api, CommitOperationAdd("a.txt", b"a"), revision="next/one")
    assert repository.branches == {"main": main, "next/one": made}
    with pytest.raises(RevisionNotFoundError):
        commit(api, CommitOperationAdd("a.txt", b"a"), revision="nowhere")


def test_a_card_whose_yaml_does_not_end_is_refused(hub: HubServer, api: HfApi, repository: Repository) -> None:
    with pytest.raises(ValueError, match="does not end"):
        commit(api, CommitOperationAdd("README.md", b"---\nlicense: mit\n"))


def batch(hub: HubServer, content: bytes) -> Any:
    return httpx2.post(
        f"{hub.endpoint}/datasets/user/name.git/info/lfs/objects/batch",
        headers={"Authorization": f"Bearer {hub.token}"},
        json={"objects": [{"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}]},
    ).json()["objects"][0]


def test_a_flipped_byte_is_found(hub: HubServer, repository: Repository) -> None:
    answer = httpx2.put(batch(hub, b"what was meant")["actions"]["upload"]["href"], content=b"what was mean?")
    assert (answer.status_code, hub.traffic.completed, repository.large_objects) == (400, {}, set())


def test_a_missing_part_is_found(hub: HubServer, repository: Repository) -> None:
    upload = batch(hub, LARGE)["actions"]["upload"]
    etags = [httpx2.put(upload["header"][n], content=LARGE[:PART]).headers["ETag"] for n in ("1", "2")]
    parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]
    answer = httpx2.post(upload["href"], json={"oid": SHA256, "parts": parts})
    assert (answer.status_code, answer.json()) == (400, {"error": "of 3 parts 2 came, and 2 are named"})
    assert repository.large_objects == set()


def test_an_object_that_was_not_uploaded_cannot_be_committed(
    hub: HubServer, api: HfApi, repository: Repository
) -> None:
    operation = CommitOperationAdd("a.parquet", LARGE)
    operation._upload_mode, operation._is_uploaded, operation._should_ignore = "lfs", True, False
    with pytest.raises(BadRequestError, match="was not uploaded"):
        commit(api, operation)
