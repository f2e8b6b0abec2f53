"""Routes that write files: preupload, large objects as a whole or in parts, and the commit that names them."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable
from typing import Any

from tests.hub.state import State, Upload
from tests.hub.store import Repository, StoredFile, goes_to_lfs
from tests.hub.wire import Answer, Call, HubError, as_json

Json = dict[str, Any]


def preupload(state: State, call: Call) -> Answer:
    """Return the upload mode of each file, and the hash of an existing one."""
    repository = state.writable(call.repository, call.user)
    present = repository.files(call.names["revision"])
    answers = []
    for file in call.json()["files"]:
        path, sample = file["path"], base64.b64decode(file.get("sample", ""))
        mode = "lfs" if goes_to_lfs(path, sample, file["size"]) else "regular"
        oid = present[path].etag if path in present else None
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return as_json({"files": answers})


def batch(state: State, call: Call) -> Answer:
    """Return the upload URL of each object; objects in this repository need none."""
    repository = state.writable(call.repository, call.user)
    objects = [_actions(state, repository, wanted) for wanted in call.json()["objects"]]
    return as_json({"transfer": "multipart", "objects": objects})


def _actions(state: State, repository: Repository, wanted: Json) -> Json:
    sha256, size = wanted["oid"], wanted["size"]
    if sha256 in repository.large_objects:
        return {"oid": sha256, "size": size}
    key = uuid.uuid4().hex
    path = state.folder / "uploads" / key
    path.parent.mkdir(exist_ok=True)
    upload = state.uploads[key] = Upload(repository, sha256, size, path, state.part_bytes)
    url = f"{state.endpoint}/lfs/{key}"
    verify = {"href": f"{state.endpoint}/{repository.page}.git/info/lfs/objects/verify"}
    if size <= state.part_bytes:
        return {"oid": sha256, "size": size, "actions": {"upload": {"href": url}, "verify": verify}}
    header = {str(number): f"{url}/part/{number}" for number in range(1, upload.parts + 1)}
    header["chunk_size"] = str(state.part_bytes)
    return {
        "oid": sha256,
        "size": size,
        "actions": {"upload": {"href": f"{url}/complete", "header": header}, "verify": verify},
    }


def _upload(state: State, call: Call) -> Upload:
    """A running upload. Its URL is the permission, like the presigned URLs of the Hub."""
    upload = state.uploads.get(call.names["key"])
    if upload is None:
        raise HubError(404, "", "no such upload is under way")
    return upload


def put_object(state: State, call: Call) -> Answer:
    upload = _upload(state, call)
    etag = _receive(state, call, upload, 1)
    _finish(state, upload)
    return Answer(200, b"", {"ETag": etag})


def put_part(state: State, call: Call) -> Answer:
    upload, number = _upload(state, call), int(call.names["number"])
    if not 1 <= number <= upload.parts:
        raise HubError(400, "", f"there is no part {number} of {upload.parts}")
    etag = upload.etags[number] = _receive(state, call, upload, number)
    return Answer(200, b"", {"ETag": etag})


def _receive(state: State, call: Call, upload: Upload, number: int) -> str:
    """Write the bytes of a part to the file, and return a tag. The whole content is checked at the end."""
    start = (number - 1) * upload.part_bytes
    expected = min(upload.part_bytes, upload.size - start)
    received = 0
    # A client that missed the answer sends again what was whole already.
    upload.path.touch()
    with upload.path.open("r+b") as file:
        file.seek(start)
        for chunk in call.body.chunks():
            state.traffic.receive(upload.sha256, number, len(chunk))
            received += len(chunk)
            if received > expected:
                raise HubError(400, "", f"part {number} has more than its {expected} bytes")
            file.write(chunk)
    if received != expected:
        raise HubError(400, "", f"part {number} has {received} bytes, not {expected}")
    return f'"{uuid.uuid4().hex}"'


def complete(state: State, call: Call) -> Answer:
    upload = _upload(state, call)
    named = {part["partNumber"]: part["etag"] for part in call.json()["parts"]}
    if named != upload.etags or len(named) != upload.parts:
        raise HubError(400, "", f"of {upload.parts} parts {len(upload.etags)} came, and {len(named)} are named")
    if upload.path.exists():
        _finish(state, upload)
    return as_json({})


def _finish(state: State, upload: Upload) -> None:
    state.objects.adopt(upload.path, upload.sha256, upload.size)
    upload.repository.large_objects.add(upload.sha256)
    state.traffic.complete(upload.sha256)


def verify(state: State, call: Call) -> Answer:
    repository = state.writable(call.repository, call.user)
    wanted = call.json()
    if wanted["oid"] not in repository.large_objects:
        raise HubError(404, "", f"the object {wanted['oid']} was not uploaded")
    return as_json({})


def commit(state: State, call: Call) -> Answer:
    """Apply all operations of an ndjson body or none, if the branch is still at the expected commit."""
    repository = state.writable(call.repository, call.user)
    header, *operations = (json.loads(line) for line in call.body.read().splitlines() if line.strip())
    about = header["value"]
    with repository.lock:
        branch = call.names["revision"]
        if branch not in repository.branches:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        if not repository.branches[branch].startswith(about.get("parentCommit") or ""):
            raise HubError(412, "", "A commit has happened since. Please refresh and try again.")
        files = _changed(repository, dict(repository.files(branch)), operations)
        answer: Json = {"success": True, "hookOutput": ""}
        if call.flag("create_pr"):
            number = 1 + sum(name.startswith("refs/pr/") for name in repository.branches)
            repository.branches[f"refs/pr/{number}"] = repository.branches[branch]
            branch = f"refs/pr/{number}"
            answer["pullRequestUrl"] = f"{state.endpoint}/{repository.page}/discussions/{number}"
        made = repository.add_commit(branch, files, about["summary"], about.get("description", ""), str(call.user))
    return as_json(
        {**answer, "commitOid": made.oid, "commitUrl": f"{state.endpoint}/{repository.page}/commit/{made.oid}"}
    )


def _changed(repository: Repository, files: dict[str, StoredFile], operations: Iterable[Json]) -> dict[str, StoredFile]:
    for operation in operations:
        kind, value = operation["key"], operation["value"]
        path = value["path"].rstrip("/")
        if kind == "file":
            files[path] = repository.objects.small_file(base64.b64decode(value["content"]))
        elif kind == "lfsFile":
            if value["oid"] not in repository.large_objects:
                raise HubError(400, "", f"LFS pointer of {path} points to an object that was not uploaded")
            files[path] = repository.objects.large_file(value["oid"])
        elif kind in ("deletedFile", "deletedFolder"):
            gone = [name for name in files if name == path or (kind == "deletedFolder" and name.startswith(f"{path}/"))]
            if not gone:
                raise HubError(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
            for name in gone:
                del files[name]
        else:
            raise HubError(400, "", f"this Hub does not know the operation {kind}")
    return files
