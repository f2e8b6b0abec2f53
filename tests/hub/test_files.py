from __future__ import annotations

import os
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.hub.clients import talk_to
from tests.hub.server import HubServer
from tests.hub.store import Repository

FILES = {"README.md": b"# Read me\n", "data/a.parquet": os.urandom(5000), "data/deep/b.txt": b"b", "empty.txt": b""}


@pytest.fixture
def full(repository: Repository) -> Repository:
    repository.write(FILES)
    return repository


def test_the_tree_lists_a_folder(hub: HubServer, api: HfApi, full: Repository) -> None:
    entries = {entry.path: entry for entry in api.list_repo_tree(full.id, repo_type="dataset")}
    assert set(entries) == {".gitattributes", "README.md", "data", "empty.txt"}
    assert isinstance(entries["data"], RepoFolder)
    below = {entry.path for entry in api.list_repo_tree(full.id, "data", repo_type="dataset")}
    assert below == {"data/a.parquet", "data/deep"}


def test_the_tree_tells_sizes_and_hashes(hub: HubServer, api: HfApi, full: Repository) -> None:
    entries = {entry.path: entry for entry in api.list_repo_tree(full.id, recursive=True, repo_type="dataset")}
    files = {path: entry for path, entry in entries.items() if isinstance(entry, RepoFile)}
    assert {path: file.size for path, file in files.items() if path in FILES} == {k: len(v) for k, v in FILES.items()}
    assert set(entries) - set(files) == {"data", "data/deep"}
    # As `git hash-object` has it.
    assert files["empty.txt"].blob_id == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert files["README.md"].lfs is None
    assert files["data/a.parquet"].lfs.sha256 == full.files()["data/a.parquet"].sha256


def test_a_long_tree_comes_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer(page_entries=3) as hub:
        talk_to(hub, tmp_path, monkeypatch)
        hub.create("user/name").write({f"{number}.txt": b"x" for number in range(10)})
        entries = list(HfApi().list_repo_tree("user/name", recursive=True, expand=True, repo_type="dataset"))
    assert [entry.path for entry in entries] == [".gitattributes", *(f"{number}.txt" for number in range(10))]
    assert {entry.last_commit.title for entry in entries} == {"Edit"}
    assert hub.traffic.count("tree") == 4


def test_facts_on_paths_leave_out_what_is_not_there(hub: HubServer, api: HfApi, full: Repository) -> None:
    found = api.get_paths_info(full.id, ["data", "nowhere", "README.md"], repo_type="dataset", expand=True)
    assert [entry.path for entry in found] == ["data", "README.md"]
    assert found[1].last_commit.oid == full.head


def test_missing_files_and_revisions_are_told_apart(hub: HubServer, api: HfApi, full: Repository) -> None:
    assert not api.file_exists(full.id, "nowhere", repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(full.id, "nowhere", repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(full.id, "no 猫.txt", repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(full.id, "no 猫", repo_type="dataset"))
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(full.id, "nowhere", repo_type="dataset"))
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(full.id, "README.md", revision="v9", repo_type="dataset")


def test_files_are_downloaded_as_they_are(hub: HubServer, full: Repository) -> None:
    for path, content in FILES.items():
        assert Path(hf_hub_download(full.id, path, repo_type="dataset")).read_bytes() == content
    folder = Path(snapshot_download(full.id, repo_type="dataset"))
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert folder.name == full.head


def test_a_download_is_of_its_revision(hub: HubServer, api: HfApi, full: Repository) -> None:
    api.create_tag(full.id, tag="v1", repo_type="dataset")
    full.write({"README.md": b"new"}, delete=["empty.txt"])
    assert (
        Path(hf_hub_download(full.id, "README.md", revision="v1", repo_type="dataset")).read_bytes() == b"# Read me\n"
    )
    assert Path(hf_hub_download(full.id, "README.md", repo_type="dataset")).read_bytes() == b"new"
    assert full.read("empty.txt", "v1") == b""
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(full.id, "empty.txt", repo_type="dataset")


def test_a_file_system_reads_only_the_range_it_needs(hub: HubServer, full: Repository) -> None:
    content = FILES["data/a.parquet"]
    with HfFileSystem().open(f"datasets/{full.id}/data/a.parquet", block_size=512) as file:
        file.seek(4000)
        assert file.read(100) == content[4000:4100]
    sent = [request.sent for request in hub.traffic.requests if request.kind == "resolve" and request.method == "GET"]
    assert sum(sent) < 1500
    assert HfFileSystem().cat_file(f"datasets/{full.id}/data/a.parquet") == content


@pytest.mark.parametrize(
    ("wanted", "part", "expected"),
    [
        ("bytes=2-4", "2-4", b"Rea"),
        ("bytes=7-", "7-9", b"me\n"),
        ("bytes=-3", "7-9", b"me\n"),
        ("bytes=8-99", "8-9", b"e\n"),
    ],
)
def test_a_range_is_answered_with_its_bytes(
    hub: HubServer, full: Repository, wanted: str, part: str, expected: bytes
) -> None:
    answer = httpx2.get(f"{hub.endpoint}/datasets/{full.id}/resolve/main/README.md", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["Content-Range"] == f"bytes {part}/10"
    assert answer.headers["X-Repo-Commit"] == full.head


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=5-4", "bytes=-", "lines=1-2"])
def test_a_range_that_holds_nothing_is_refused(hub: HubServer, full: Repository, wanted: str) -> None:
    answer = httpx2.get(f"{hub.endpoint}/datasets/{full.id}/resolve/main/README.md", headers={"Range": wanted})
    assert answer.status_code == 416
