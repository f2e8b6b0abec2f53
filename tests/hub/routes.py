"""Routing of requests to functions, and the names by which requests are counted and meet faults."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from tests.hub import files, repositories, uploads
from tests.hub.state import State
from tests.hub.wire import Answer, Call, HubError

ID = r"(?P<id>[^/]+/[^/]+)"
REPOSITORY = rf"/api/(?P<type>dataset|model)s/{ID}"
# Pages of models have no prefix.
PAGE = rf"(?:/(?P<type>dataset)s)?/{ID}"
GIT = PAGE + r"\.git/info/lfs/objects"
REVISION = r"(?P<revision>[^/]+)"
CONTENT = PAGE + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)"


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request. `path` is matched against the whole path, quoted as it came."""

    kind: str
    methods: str
    path: str
    answer: Callable[[State, Call], Answer]
    anonymous: bool = False


ROUTES = (
    Route("whoami", "GET", r"/api/whoami-v2", repositories.who_am_i),
    Route("validate-yaml", "POST", r"/api/validate-yaml", repositories.validate_card),
    Route("create", "POST", r"/api/repos/create", repositories.create),
    Route("delete", "DELETE", r"/api/repos/delete", repositories.delete),
    Route("settings", "PUT", REPOSITORY + r"/settings", repositories.change_settings),
    Route("info", "GET", REPOSITORY, repositories.info),
    Route("info", "GET", REPOSITORY + r"/revision/" + REVISION, repositories.info),
    Route("refs", "GET", REPOSITORY + r"/refs", repositories.references),
    Route("history", "GET", REPOSITORY + r"/commits/" + REVISION, repositories.history),
    Route("tag", "POST", REPOSITORY + r"/tag/(?P<name>[^/]+)", repositories.create_tag),
    Route("delete-tag", "DELETE", REPOSITORY + r"/tag/(?P<name>[^/]+)", repositories.delete_tag),
    Route("branch", "POST", REPOSITORY + r"/branch/(?P<name>[^/]+)", repositories.create_branch),
    Route("delete-branch", "DELETE", REPOSITORY + r"/branch/(?P<name>[^/]+)", repositories.delete_branch),
    Route("tree", "GET", REPOSITORY + r"/tree/" + REVISION + r"(?P<path>/.*)?", files.tree),
    Route("paths-info", "POST", REPOSITORY + r"/paths-info/" + REVISION, files.paths_info),
    Route("resolve", "GET HEAD", CONTENT, files.resolve),
    Route("preupload", "POST", REPOSITORY + r"/preupload/" + REVISION, uploads.preupload),
    Route("lfs-batch", "POST", GIT + r"/batch", uploads.batch),
    Route("lfs-verify", "POST", GIT + r"/verify", uploads.verify),
    Route("lfs-put", "PUT", r"/lfs/(?P<key>\w+)", uploads.put_object, anonymous=True),
    Route("lfs-part", "PUT", r"/lfs/(?P<key>\w+)/part/(?P<number>\d+)", uploads.put_part, anonymous=True),
    Route("lfs-complete", "POST", r"/lfs/(?P<key>\w+)/complete", uploads.complete, anonymous=True),
    Route("commit", "POST", REPOSITORY + r"/commit/" + REVISION, uploads.commit),
)


def _nothing(state: State, call: Call) -> Answer:
    raise HubError(404, "", f"this Hub has nothing at {call.url}")


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route of a request and the unquoted parts of its path; "other" if there is none."""
    for route in ROUTES:
        found = re.fullmatch(route.path, path)
        if found is not None and method in route.methods.split():
            names = {name: unquote(text) for name, text in found.groupdict().items() if text is not None}
            return route, {"type": "model", **names}
    return Route("other", method, path, _nothing, anonymous=True), {}
