from __future__ import annotations

import pytest
from huggingface_hub import HfApi, create_repo
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from tests.hub.server import HubServer
from tests.hub.store import Repository


def test_a_new_repository_has_the_first_commit_of_the_hub(hub: HubServer, api: HfApi) -> None:
    url = create_repo("user/name", repo_type="dataset")
    assert (str(url), url.repo_id, url.repo_type) == (f"{hub.endpoint}/datasets/user/name", "user/name", "dataset")
    info = api.dataset_info("user/name")
    assert (info.id, info.sha, info.private) == ("user/name", hub.repository("user/name").head, False)
    assert [file.rfilename for file in info.siblings] == [".gitattributes"]
    assert [commit.title for commit in api.list_repo_commits("user/name", repo_type="dataset")] == ["initial commit"]


def test_a_repository_is_created_once(hub: HubServer, api: HfApi) -> None:
    api.create_repo("user/name", repo_type="dataset")
    head = hub.repository("user/name").head
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("user/name", repo_type="dataset")
    api.create_repo("user/name", repo_type="dataset", exist_ok=True)
    assert hub.repository("user/name").head == head


def test_a_repository_is_deleted(hub: HubServer, api: HfApi, repository: Repository) -> None:
    api.delete_repo(repository.id, repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info(repository.id)


def test_whoami_knows_each_token(hub: HubServer) -> None:
    assert HfApi().whoami()["name"] == "user"
    assert HfApi(token="hf_stranger").whoami()["name"] == "stranger"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(token="hf_wrong").whoami()


@pytest.mark.parametrize(("token", "status"), [("hf_stranger", 404), (False, 401)])
def test_a_private_repository_is_none_to_strangers(hub: HubServer, token: str | bool, status: int) -> None:
    HfApi().create_repo("user/secret", repo_type="dataset", private=True)
    assert HfApi().dataset_info("user/secret").private is True
    for repository_id in ("user/secret", "user/never-made"):
        with pytest.raises(RepositoryNotFoundError) as caught:
            HfApi(token=token).dataset_info(repository_id)
        assert caught.value.response.status_code == status


def test_a_private_repository_can_be_made_public(hub: HubServer, api: HfApi) -> None:
    hub.create("user/secret", private=True)
    api.update_repo_settings("user/secret", private=False, repo_type="dataset")
    assert HfApi(token=False).dataset_info("user/secret").private is False


@pytest.mark.parametrize(("token", "status"), [("hf_stranger", 403), ("hf_wrong", 401), (False, 401)])
def test_only_its_user_writes_to_a_public_repository(
    hub: HubServer, repository: Repository, token: str | bool, status: int
) -> None:
    head = repository.head
    stranger = HfApi(token=token)
    for write in (
        lambda: stranger.upload_file(path_or_fileobj=b"x", path_in_repo="a", repo_id="user/name", repo_type="dataset"),
        lambda: stranger.create_tag("user/name", tag="v1", repo_type="dataset"),
        lambda: stranger.create_repo("user/another", repo_type="dataset"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            write()
        assert caught.value.response.status_code == status
    assert (repository.head, repository.tags) == (head, {})


def test_a_wrong_token_reads_nothing(hub: HubServer, repository: Repository) -> None:
    with pytest.raises(HfHubHTTPError, match="401") as caught:
        HfApi(token="hf_wrong").dataset_info(repository.id)
    assert "hf_wrong" not in str(caught.value)


def test_tags_and_branches_point_to_commits(hub: HubServer, api: HfApi, repository: Repository) -> None:
    first = repository.head
    second = repository.write({"a.txt": b"one"})
    api.create_tag(repository.id, tag="v1", revision=first, repo_type="dataset")
    api.create_tag(repository.id, tag="v2", repo_type="dataset")
    api.create_branch(repository.id, branch="next/one", revision="v1", repo_type="dataset")
    refs = api.list_repo_refs(repository.id, repo_type="dataset")
    assert {tag.name: tag.target_commit for tag in refs.tags} == {"v1": first, "v2": second}
    assert {branch.name: branch.target_commit for branch in refs.branches} == {"main": second, "next/one": first}
    assert api.dataset_info(repository.id, revision="v1").sha == first
    assert api.dataset_info(repository.id, revision="next/one").sha == first
    assert api.dataset_info(repository.id, revision=second[:7]).sha == second


def test_a_tag_is_made_once_and_can_be_deleted(hub: HubServer, api: HfApi, repository: Repository) -> None:
    api.create_tag(repository.id, tag="v1", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag(repository.id, tag="v1", repo_type="dataset")
    api.delete_tag(repository.id, tag="v1", repo_type="dataset")
    for call in (
        lambda: api.delete_tag(repository.id, tag="v1", repo_type="dataset"),
        lambda: api.dataset_info(repository.id, revision="v1"),
        lambda: api.create_tag(repository.id, tag="v2", revision="v1", repo_type="dataset"),
    ):
        with pytest.raises(RevisionNotFoundError):
            call()


def test_branches_are_deleted_save_the_first(hub: HubServer, api: HfApi, repository: Repository) -> None:
    api.create_branch(repository.id, branch="next", repo_type="dataset")
    api.delete_branch(repository.id, branch="next", repo_type="dataset")
    assert set(repository.branches) == {"main"}
    with pytest.raises(HfHubHTTPError, match="403"):
        api.delete_branch(repository.id, branch="main", repo_type="dataset")
