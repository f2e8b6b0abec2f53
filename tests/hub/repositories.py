"""Routes that make and describe repositories: create, delete, settings, info, branches, tags, history, who am I."""

from __future__ import annotations

from tests.hub.state import State
from tests.hub.store import Commit, Repository
from tests.hub.wire import Answer, Call, HubError, as_json


def who_am_i(state: State, call: Call) -> Answer:
    if call.user is None:
        raise HubError(401, "", "Invalid username or password.")
    return as_json({"type": "user", "id": call.user, "name": call.user, "fullname": call.user, "orgs": []})


def validate_card(state: State, call: Call) -> Answer:
    """Of the card's YAML only that its block ends: what more the Hub checks is its own affair."""
    content = call.json()["content"]
    if content.startswith("---\n") and "\n---" not in content[3:]:
        errors = [{"message": "the YAML block does not end"}]
        return as_json({"errors": errors, "warnings": []}, 400)
    return as_json({"errors": [], "warnings": []})


def create(state: State, call: Call) -> Answer:
    wanted = call.json()
    if wanted.get("type") != "dataset":
        raise HubError(400, "", "this Hub holds nothing but repositories of type dataset")
    repository_id = f"{wanted.get('organization') or call.user}/{wanted['name']}"
    state.must_own(call.user, repository_id)
    url = f"{state.endpoint}/datasets/{repository_id}"
    private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
    try:
        state.create(repository_id, private=private)
    except HubError as error:
        return as_json({"error": error.message, "url": url}, error.status)
    return as_json({"url": url, "name": repository_id, "id": repository_id})


def delete(state: State, call: Call) -> Answer:
    wanted = call.json()
    repository = state.writable(f"{wanted.get('organization') or call.user}/{wanted['name']}", call.user)
    with state.lock:
        del state.repositories[repository.id]
    return as_json({})


def change_settings(state: State, call: Call) -> Answer:
    repository = state.writable(call.names["id"], call.user)
    wanted = call.json()
    if "visibility" in wanted or "private" in wanted:
        repository.private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
    return as_json({"private": repository.private})


def info(state: State, call: Call) -> Answer:
    repository = state.readable(call.names["id"], call.user)
    commit = repository.at(call.names.get("revision") or "main")
    with_blobs = call.flag("blobs")
    return as_json(
        {
            "_id": repository.id,
            "id": repository.id,
            "author": repository.id.partition("/")[0],
            "sha": commit.oid,
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "createdAt": repository.history()[-1].date,
            "lastModified": commit.date,
            "siblings": [_sibling(commit, path, with_blobs) for path in sorted(commit.files)],
        }
    )


def _sibling(commit: Commit, path: str, with_blobs: bool) -> dict[str, object]:
    file = commit.files[path]
    sibling: dict[str, object] = {"rfilename": path}
    if with_blobs:
        sibling |= {"size": file.size, "blobId": file.git_oid}
        if file.is_large:
            sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return sibling


def references(state: State, call: Call) -> Answer:
    repository = state.readable(call.names["id"], call.user)

    def listed(names: dict[str, str], kind: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in names.items()]

    branches, tags = listed(repository.branches, "heads"), listed(repository.tags, "tags")
    return as_json({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


def history(state: State, call: Call) -> Answer:
    repository = state.readable(call.names["id"], call.user)
    return as_json([_told(commit) for commit in repository.history(call.names["revision"])])


def _told(commit: Commit) -> dict[str, object]:
    authors = [{"user": commit.author}]
    return {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.message,
        "date": commit.date,
        "authors": authors,
    }


def create_tag(state: State, call: Call) -> Answer:
    repository = state.writable(call.names["id"], call.user)
    oid = repository.at(call.names["name"]).oid
    _add(repository, repository.tags, call.json()["tag"], oid)
    return as_json({})


def delete_tag(state: State, call: Call) -> Answer:
    _remove(state.writable(call.names["id"], call.user).tags, call.names["name"])
    return as_json({})


def create_branch(state: State, call: Call) -> Answer:
    repository = state.writable(call.names["id"], call.user)
    oid = repository.at(call.json().get("startingPoint") or "main").oid
    _add(repository, repository.branches, call.names["name"], oid)
    return as_json({})


def delete_branch(state: State, call: Call) -> Answer:
    if call.names["name"] == "main":
        raise HubError(403, "", "the branch main cannot be deleted")
    _remove(state.writable(call.names["id"], call.user).branches, call.names["name"])
    return as_json({})


def _add(repository: Repository, names: dict[str, str], name: str, oid: str) -> None:
    with repository.lock:
        if name in names:
            raise HubError(409, "", f"Reference already exists: {name}")
        names[name] = oid


def _remove(names: dict[str, str], name: str) -> None:
    if names.pop(name, None) is None:
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {name}")
