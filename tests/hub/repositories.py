"""Routes that create and describe repositories: create, delete, settings, info, branches, tags, history, who am I."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.hub.state import State
from tests.hub.store import PAGES, Commit, Repository, page
from tests.hub.wire import Answer, Call, HubError, Name, as_json


def who_am_i(state: State, call: Call) -> Answer:
    if call.user is None:
        raise HubError(401, "", "Invalid username or password.")
    return as_json({"type": "user", "id": call.user, "name": call.user, "fullname": call.user, "orgs": []})


def validate_card(state: State, call: Call) -> Answer:
    """Of the card's YAML only that its block ends, and that a model's card names models and data sets by ids.

    Further checks of the Hub are not imitated.
    """
    wanted = call.json()
    errors = list(_card_errors(wanted["content"], wanted["repoType"]))
    return as_json({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)


def _card_errors(content: str, repository_type: str) -> Iterator[str]:
    if not content.startswith("---\n"):
        return
    front, end, _ = content[3:].partition("\n---")
    if not end:
        yield "the YAML block does not end"
    elif repository_type == "model":
        values = yaml.safe_load(front) or {}
        for key, kind in (("base_model", "model"), ("datasets", "dataset")):
            for value in _listed(values.get(key)):
                if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", str(value)):
                    yield f'"{key}" with value "{value}" is not valid. Use a {kind} id from https://hf.co/{kind}s.'


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def create(state: State, call: Call) -> Answer:
    wanted = call.json()
    repository_type, repository_id = name = _named(wanted, call.user)
    state.must_own(call.user, repository_id)
    url = f"{state.endpoint}/{page(repository_type, repository_id)}"
    private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
    try:
        state.create(name, private=private)
    except HubError as error:
        return as_json({"error": error.message, "url": url}, error.status)
    return as_json({"url": url, "name": repository_id, "id": repository_id})


def delete(state: State, call: Call) -> Answer:
    name = _named(call.json(), call.user)
    state.writable(name, call.user)
    with state.lock:
        del state.repositories[name]
    return as_json({})


def _named(wanted: Mapping[str, str], user: str | None) -> Name:
    """Return the repository in the body of a request; a model if no type is given."""
    repository_type = wanted.get("type") or "model"
    if repository_type not in PAGES:
        raise HubError(400, "", f"this Hub holds no repositories of type {repository_type}")
    return repository_type, f"{wanted.get('organization') or user}/{wanted['name']}"


def change_settings(state: State, call: Call) -> Answer:
    repository = state.writable(call.repository, call.user)
    wanted = call.json()
    if "visibility" in wanted or "private" in wanted:
        repository.private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
    return as_json({"private": repository.private})


def info(state: State, call: Call) -> Answer:
    repository = state.readable(call.repository, call.user)
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
            "tags": _tags(commit, repository),
            "downloads": 0,
            "likes": 0,
            "createdAt": repository.history()[-1].date,
            "lastModified": commit.date,
            "siblings": [_sibling(commit, path, with_blobs) for path in sorted(commit.files)],
        }
    )


def _tags(commit: Commit, repository: Repository) -> list[str]:
    """The tags that the Hub takes from a card's front matter: here, the license."""
    file = commit.files.get("README.md")
    text = "" if file is None else repository.objects.path(file.sha256).read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^license: (\S+)$", text, re.MULTILINE)
    return [] if found is None else [f"license:{found[1]}"]


def _sibling(commit: Commit, path: str, with_blobs: bool) -> dict[str, object]:
    file = commit.files[path]
    sibling: dict[str, object] = {"rfilename": path}
    if with_blobs:
        sibling |= {"size": file.size, "blobId": file.git_oid}
        if file.is_large:
            sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return sibling


def references(state: State, call: Call) -> Answer:
    repository = state.readable(call.repository, call.user)

    def listed(names: dict[str, str], kind: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in names.items()]

    branches, tags = listed(repository.branches, "heads"), listed(repository.tags, "tags")
    return as_json({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


def history(state: State, call: Call) -> Answer:
    repository = state.readable(call.repository, call.user)
    return as_json([_reported(commit) for commit in repository.history(call.names["revision"])])


def _reported(commit: Commit) -> dict[str, object]:
    authors = [{"user": commit.author}]
    return {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.message,
        "date": commit.date,
        "authors": authors,
    }


def create_tag(state: State, call: Call) -> Answer:
    repository = state.writable(call.repository, call.user)
    oid = repository.at(call.names["name"]).oid
    _add(repository, repository.tags, call.json()["tag"], oid)
    return as_json({})


def delete_tag(state: State, call: Call) -> Answer:
    _remove(state.writable(call.repository, call.user).tags, call.names["name"])
    return as_json({})


def create_branch(state: State, call: Call) -> Answer:
    repository = state.writable(call.repository, call.user)
    oid = repository.at(call.json().get("startingPoint") or "main").oid
    _add(repository, repository.branches, call.names["name"], oid)
    return as_json({})


def delete_branch(state: State, call: Call) -> Answer:
    if call.names["name"] == "main":
        raise HubError(403, "", "the branch main cannot be deleted")
    _remove(state.writable(call.repository, call.user).branches, call.names["name"])
    return as_json({})


def _add(repository: Repository, names: dict[str, str], name: str, oid: str) -> None:
    with repository.lock:
        if name in names:
            raise HubError(409, "", f"Reference already exists: {name}")
        names[name] = oid


def _remove(names: dict[str, str], name: str) -> None:
    if names.pop(name, None) is None:
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {name}")
