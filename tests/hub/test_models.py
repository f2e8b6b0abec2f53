"""Repositories of models: the same routes as for datasets, at other URLs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, create_repo, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

from tests.hub.faults import Fault
from tests.hub.server import HubServer

WEIGHTS = os.urandom(5000)


def upload(api: HfApi, path: str, content: bytes) -> str:
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="user/name").oid


def test_what_is_uploaded_is_downloaded(hub: HubServer, api: HfApi) -> None:
    url = create_repo("user/name")
    assert (str(url), url.repo_id, url.repo_type) == (f"{hub.endpoint}/user/name", "user/name", "model")
    made = upload(api, "a.safetensors", WEIGHTS)
    upload(api, "notes/b.txt", b"b")
    assert (
        api.model_info("user/name", revision=made).sha == made == hub.repository("user/name", "model").history()[1].oid
    )
    for path, content in (("a.safetensors", WEIGHTS), ("notes/b.txt", b"b")):
        assert Path(hf_hub_download("user/name", path)).read_bytes() == content
    assert hub.traffic.bytes_received() == len(WEIGHTS)
    assert api.file_exists("user/name", "a.safetensors")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("user/name", "nowhere.txt")


def test_a_model_and_a_data_set_of_one_name_are_two(hub: HubServer, api: HfApi) -> None:
    api.create_repo("user/name", private=True)
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("user/name")
    hub.create("user/name").write({"a.txt": b"of the data set"})
    upload(api, "a.txt", b"of the model")
    assert hub.repository("user/name").read("a.txt") == b"of the data set"
    assert hub.repository("user/name", "model").read("a.txt") == b"of the model"
    api.delete_repo("user/name")
    assert api.dataset_info("user/name").private is False
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("user/name")


def test_tags_branches_and_faults_are_those_of_data_sets(hub: HubServer, api: HfApi) -> None:
    first = hub.create("user/name", repo_type="model").head
    api.create_tag("user/name", tag="v1")
    api.create_branch("user/name", branch="next", revision="v1")
    hub.faults.add(Fault("^commit ", "stale"))
    added = [CommitOperationAdd("a.txt", b"a")]
    with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
        api.create_commit("user/name", added, commit_message="Add", revision="next", parent_commit=first)
    repository = hub.repository("user/name", "model")
    assert repository.tags == {"v1": first}
    assert repository.branches["main"] == first != repository.branches["next"]


@pytest.mark.parametrize("front", ["base_model: /home/me/model", "base_model:\n- toyworld:vlm", "datasets: [a/b/c]"])
def test_a_card_that_names_no_id_is_refused(hub: HubServer, api: HfApi, front: str) -> None:
    hub.create("user/name", repo_type="model")
    with pytest.raises(ValueError, match="is not valid"):
        upload(api, "README.md", f"---\n{front}\n---\n# T\n".encode())
    upload(api, "README.md", b"---\nbase_model: user/model\ndatasets: [user/set, set]\n---\n# T\n")


def test_other_types_are_refused(hub: HubServer, api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError, match="no repositories of type space"):
        api.create_repo("user/name", repo_type="space", space_sdk="static")
