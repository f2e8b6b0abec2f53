"""Routes that read files: the tree of a commit in pages, facts on some paths, and content, whole or in ranges."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import parse_qs, urlencode

from tests.hub.state import State
from tests.hub.store import Commit
from tests.hub.wire import Answer, Call, FileSlice, HubError, as_json


def tree(state: State, call: Call) -> Answer:
    """Return the entries of a folder; `recursive` includes those below. The Link header names the next page."""
    commit = state.readable(call.repository, call.user).at(call.names["revision"])
    folder = (call.names.get("path") or "").strip("/")
    if not commit.is_folder(folder):
        raise HubError(404, "EntryNotFound", f"{folder} does not exist on this revision")
    expand, recursive = call.flag("expand"), call.flag("recursive")
    paths = _paths_below(commit, folder, recursive)
    start = int(call.query.get("cursor", ["0"])[-1])
    stop = start + state.page_entries
    headers = {}
    if stop < len(paths):
        query = urlencode({"recursive": recursive, "expand": expand, "cursor": stop})
        headers["Link"] = f'<{state.endpoint}{call.url.partition("?")[0]}?{query}>; rel="next"'
    return as_json([_entry(commit, path, expand) for path in paths[start:stop]], headers=headers)


def paths_info(state: State, call: Call) -> Answer:
    """Return facts on the existing paths, in their order."""
    commit = state.readable(call.repository, call.user).at(call.names["revision"])
    wanted = parse_qs(call.body.read().decode())
    expand = wanted.get("expand", ["false"])[-1].lower() == "true"
    paths = [path.strip("/") for path in wanted.get("paths", [])]
    known = [path for path in paths if path in commit.files or (path and commit.is_folder(path))]
    return as_json([_entry(commit, path, expand) for path in known])


def _paths_below(commit: Commit, folder: str, recursive: bool) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    found: set[str] = set()
    for path in commit.files:
        if path.startswith(prefix):
            parts = path.removeprefix(prefix).split("/")
            depths = range(1, len(parts) + 1) if recursive else (1,)
            found.update(prefix + "/".join(parts[:depth]) for depth in depths)
    return sorted(found)


def _entry(commit: Commit, path: str, expand: bool) -> dict[str, object]:
    file = commit.files.get(path)
    if file is None:
        entry: dict[str, object] = {"type": "directory", "oid": _folder_oid(commit, path), "size": 0, "path": path}
    else:
        entry = {"type": "file", "oid": file.git_oid, "size": file.size, "path": path}
        if file.is_large:
            entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    if expand:
        entry["lastCommit"] = {"id": commit.oid, "title": commit.title, "date": commit.date}
    return entry


def _folder_oid(commit: Commit, folder: str) -> str:
    """Return a hash of the content. It is not that of git, which no client computes."""
    below: Iterable[str] = sorted(path for path in commit.files if path.startswith(f"{folder}/"))
    return hashlib.sha1("\n".join(f"{commit.files[path].git_oid} {path}" for path in below).encode()).hexdigest()


def resolve(state: State, call: Call) -> Answer:
    """A file's content. All content comes from here: there is no second host that a large file is sent to."""
    repository = state.readable(call.repository, call.user)
    commit = repository.at(call.names["revision"])
    headers = {"X-Repo-Commit": commit.oid}
    file = commit.files.get(call.names["path"])
    if file is None:
        raise HubError(404, "EntryNotFound", "Entry not found", headers)
    headers |= {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if file.is_large:
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.etag}"'}
    path = repository.objects.path(file.sha256)
    wanted = call.headers.get("Range")
    if wanted is None:
        return Answer(200, FileSlice(path, 0, file.size), headers)
    start, stop = _range(wanted, file.size)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    return Answer(206, FileSlice(path, start, stop - start), headers)


def _range(text: str, size: int) -> tuple[int, int]:
    """Return the bytes [start, stop) of a Range header: `bytes=2-5`, `bytes=2-` or the last ones, `bytes=-3`."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", text)
    if found is None or not any(found.groups()):
        raise HubError(416, "", f"cannot read the range {text}")
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        raise HubError(416, "", f"the range {text} is outside {size} bytes", {"Content-Range": f"bytes */{size}"})
    return start, stop
