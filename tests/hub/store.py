"""Contents of the test Hub: objects by content, immutable commits, branches and tags that point to them."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.hub.wire import HubError, Name

# What stands before the id in the address of a page, by the repository's type.
PAGES = {"dataset": "datasets/", "model": ""}
LARGE_SUFFIXES = (".parquet", ".arrow", ".png", ".jpg", ".jpeg", ".tar", ".zip", ".npz", ".bin", ".safetensors")
LARGE_MIN_BYTES = 10 * 1024 * 1024
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES).encode()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in a commit. `git_oid` is git's hash of its content, or of the pointer of a large file."""

    sha256: str
    size: int
    git_oid: str
    is_large: bool
    pointer_size: int

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_large else self.git_oid


@dataclass(frozen=True, slots=True)
class Commit:
    """A snapshot of all files of a repository."""

    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: Mapping[str, StoredFile]

    def is_folder(self, path: str) -> bool:
        return not path or any(name.startswith(f"{path}/") for name in self.files)


def goes_to_lfs(path: str, sample: bytes, size: int) -> bool:
    return size > 0 and (path.endswith(LARGE_SUFFIXES) or b"\0" in sample or size > LARGE_MIN_BYTES)


def git_blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Objects:
    """Content by sha256, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        part = self.folder / f"{uuid.uuid4().hex}.part"
        part.write_bytes(content)
        part.replace(self.path(sha256))
        return sha256

    def adopt(self, part: Path, sha256: str, size: int) -> None:
        """Accept a file uploaded as `sha256`, if the digest matches."""
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if (found, part.stat().st_size) != (sha256, size):
            raise HubError(400, "", f"the object {sha256} came as {found} with {part.stat().st_size} bytes")
        part.replace(self.path(sha256))

    def small_file(self, content: bytes) -> StoredFile:
        return StoredFile(self.put(content), len(content), git_blob_oid(content), False, 0)

    def large_file(self, sha256: str) -> StoredFile:
        size = self.path(sha256).stat().st_size
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return StoredFile(sha256, size, git_blob_oid(pointer), True, len(pointer))


@dataclass(slots=True)
class Repository:
    """Repository of a dataset or model: its history, branches, tags, and received large objects."""

    type: str
    id: str
    objects: Objects
    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    large_objects: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def page(self) -> str:
        return page(self.type, self.id)

    @property
    def head(self) -> str:
        return self.branches["main"]

    def at(self, revision: str = "main") -> Commit:
        """Return the commit of a branch, a tag, or a hash of at least five digits."""
        oid = self.branches.get(revision) or self.tags.get(revision.removeprefix("refs/tags/"))
        if oid is None and len(revision) >= 5:
            oid = next((known for known in self.commits if known.startswith(revision)), None)
        if oid is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[oid]

    def files(self, revision: str = "main") -> Mapping[str, StoredFile]:
        return self.at(revision).files

    def read(self, path: str, revision: str = "main") -> bytes:
        return self.objects.path(self.files(revision)[path].sha256).read_bytes()

    def history(self, revision: str = "main") -> list[Commit]:
        """Return the history of a revision, the newest commit first."""
        commits = [self.at(revision)]
        while (parent := commits[-1].parent) is not None:
            commits.append(self.commits[parent])
        return commits

    def add_commit(
        self, branch: str, files: Mapping[str, StoredFile], title: str, message: str = "", author: str = "somebody"
    ) -> Commit:
        date = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        oid = hashlib.sha1(uuid.uuid4().bytes).hexdigest()
        commit = Commit(oid, self.branches.get(branch), title, message, author, date, dict(files))
        self.commits[oid] = commit
        self.branches[branch] = oid
        return commit

    def write(
        self, files: Mapping[str, bytes], *, delete: Iterable[str] = (), branch: str = "main", title: str = "Edit"
    ) -> str:
        """Commit like another user, without a request; return the hash of the new commit."""
        with self.lock:
            changed = dict(self.files(branch))
            for path in delete:
                del changed[path]
            for path, content in files.items():
                changed[path] = self._stored(path, content)
            return self.add_commit(branch, changed, title).oid

    def _stored(self, path: str, content: bytes) -> StoredFile:
        if not goes_to_lfs(path, content[:512], len(content)):
            return self.objects.small_file(content)
        sha256 = self.objects.put(content)
        self.large_objects.add(sha256)
        return self.objects.large_file(sha256)


def page(repository_type: str, repository_id: str) -> str:
    """Return the URL of the page of a repository, relative to the Hub."""
    return PAGES[repository_type] + repository_id


def new_repository(name: Name, objects: Objects, *, private: bool) -> Repository:
    """Return a repository with the first commit of the Hub."""
    repository = Repository(*name, objects, private)
    repository.add_commit("main", {".gitattributes": objects.small_file(GIT_ATTRIBUTES)}, "initial commit")
    return repository
