"""State shared by all routes of the test Hub: repositories, permissions, running uploads, settings."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.hub.faults import Faults
from tests.hub.store import Objects, Repository, new_repository
from tests.hub.traffic import Traffic
from tests.hub.wire import HubError, Name


@dataclass(slots=True)
class Upload:
    """A large object being uploaded. `etags` are those of the received parts, by number from 1."""

    repository: Repository
    sha256: str
    size: int
    path: Path
    part_bytes: int
    etags: dict[int, str] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        return -(-self.size // self.part_bytes)


@dataclass(slots=True)
class State:
    """The Hub behind its routes."""

    folder: Path
    endpoint: str
    users: Mapping[str, str]
    part_bytes: int
    page_entries: int
    repositories: dict[Name, Repository] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    faults: Faults = field(default_factory=Faults)
    lock: threading.Lock = field(default_factory=threading.Lock)
    objects: Objects = field(init=False)

    def __post_init__(self) -> None:
        self.objects = Objects(self.folder / "objects")

    def user(self, authorization: str | None) -> str | None:
        """Return the user of a token, None without one."""
        if authorization is None:
            return None
        token = authorization.removeprefix("Bearer ")
        if token not in self.users:
            raise HubError(401, "", "Invalid credentials in Authorization header")
        return self.users[token]

    def create(self, name: Name, *, private: bool = False) -> Repository:
        with self.lock:
            if name in self.repositories:
                raise HubError(409, "", f"You already created this {name[0]} repo")
            repository = new_repository(name, self.objects, private=private)
            self.repositories[name] = repository
        return repository

    def readable(self, name: Name, user: str | None) -> Repository:
        """Return a repository that a user may read; to others, a private one looks missing."""
        repository = self.repositories.get(name)
        if repository is None or (repository.private and not owns(user, repository.id)):
            raise HubError(401 if user is None else 404, "RepoNotFound", "Repository not found")
        return repository

    def writable(self, name: Name, user: str | None) -> Repository:
        repository = self.readable(name, user)
        self.must_own(user, repository.id)
        return repository

    def must_own(self, user: str | None, repository_id: str) -> None:
        if user is None:
            raise HubError(401, "", "Invalid username or password.")
        if not owns(user, repository_id):
            raise HubError(403, "", f"Forbidden: {user} has no right to write to {repository_id}")


def owns(user: str | None, repository_id: str) -> bool:
    return repository_id.partition("/")[0] == user
