"""A repository on the Hub, of a dataset or a model. Owns every request to it."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoFile,
    constants,
    get_session,
    hf_hub_url,
    hf_raise_for_status,
)

from datasetkit.core.addresses import RepoType
from datasetkit.core.errors import BuiltFolderError, HubError
from datasetkit.core.files import file_sha256
from datasetkit.core.remote import RemotePath
from datasetkit.export.publish.files import LocalFile
from datasetkit.export.publish.hub.calls import HubCaller, Patience, uses_xet

MAIN_BRANCH = "main"
# Number of files announced in one request; huggingface_hub sends a few of them at once.
_GROUP_FILES = 20
# The beginning of a file, from which the Hub tells whether it is text.
_SAMPLE_BYTES = 512


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """State of a repository at one moment.

    Args:
        is_private: None if there is no repository yet.
        has_branch: whether the branch to push to exists; if not, it will begin at ``head``.
        head: commit that the push builds on; None if there is no repository yet.
        tags: commit of each tag.
        files: all files at ``head``, by path.

    """

    is_private: bool | None
    has_branch: bool
    head: str | None
    tags: Mapping[str, str]
    files: Mapping[str, RepoFile]

    @property
    def exists(self) -> bool:
        """Whether there is a repository."""
        return self.is_private is not None


class HubRepository:
    """One repository and one of its branches.

    Args:
        repo_id: ``user/name``; a dataset and a model of the same name are two repositories.
        branch: branch to push to.
        token: token with write or read access; None for public repositories.
        endpoint: URL of the Hub; None for that of huggingface_hub, which reads ``HF_ENDPOINT``.
        writes: whether something is to be changed, for messages.
        create_pr: whether to propose the commit as a pull request to the branch, which is ``main``.

    """

    def __init__(
        self,
        repo_id: str,
        repo_type: RepoType,
        branch: str = MAIN_BRANCH,
        *,
        token: str | None,
        endpoint: str | None,
        patience: Patience,
        writes: bool = True,
        create_pr: bool = False,
    ) -> None:
        self.repo_id = repo_id
        self._type = repo_type
        self.branch = branch
        self.create_pr = create_pr
        # A repeated request would open a second one.
        self._patience = replace(patience, attempts=1) if create_pr else patience
        self._token = token
        self._api = HfApi(endpoint=endpoint, token=token or False)
        self._call = HubCaller(repo_id, token, patience, writes=writes)

    def url(self, revision: str) -> str:
        """Return the URL of a revision for users."""
        prefix = constants.REPO_TYPES_URL_PREFIXES.get(self._type, "")
        page = f"{self._api.endpoint}/{prefix}{self.repo_id}"
        return page if revision == MAIN_BRANCH else f"{page}/tree/{quote(revision, safe='')}"

    @property
    def has_token(self) -> bool:
        """Whether requests have a token."""
        return self._token is not None

    def read(self) -> RepositoryState:
        """Read the current state; without a token, a private repository looks missing."""
        try:
            info = self._call("reading the repository", lambda: self._info(None))
        except HubError as error:
            if error.status == 404 or (error.status == 401 and self._token is None):
                return RepositoryState(None, False, None, {}, {})
            raise
        refs = self._call("reading its branches", lambda: self._api.list_repo_refs(self.repo_id, repo_type=self._type))
        branches = {branch.name: branch.target_commit for branch in refs.branches}
        tags = {tag.name: tag.target_commit for tag in refs.tags}
        head = branches.get(self.branch) or branches.get(MAIN_BRANCH)
        files = self.files(head) if head is not None else {}
        return RepositoryState(bool(info.private), self.branch in branches, head, tags, files)

    def find_commit(self, title: str, revision: str | None) -> str:
        """Return the commit of a branch or tag, by default of the default branch."""
        info = self._call(
            f"looking for {title}",
            lambda: self._info(revision),
        )
        if info.sha is None:
            raise HubError(f"{title}: the Hub reports no commit; give the full hash after an @")
        return str(info.sha)

    def _info(self, revision: str | None) -> Any:
        timeout = self._patience.max_silence_s  # None, the default, would wait forever, whatever the client is set to
        return self._api.repo_info(self.repo_id, revision=revision, repo_type=self._type, timeout=timeout)

    def files(self, commit: str) -> dict[str, RepoFile]:
        """Return the files of a commit, by path."""

        def listed() -> dict[str, RepoFile]:
            tree = self._api.list_repo_tree(self.repo_id, recursive=True, revision=commit, repo_type=self._type)
            return {item.path: item for item in tree if isinstance(item, RepoFile)}

        return self._call("listing its files", listed)

    def read_file(self, path: str, commit: str, listed: RepoFile | None = None) -> bytes:
        """Download one small file; its bytes must match ``listed``, its entry on the Hub."""

        def fetched() -> bytes:
            with self._streamed(path, commit) as answer:
                data = bytes(answer.read())
            if listed is not None and not LocalFile.of_bytes(path, data).equals(listed):
                raise OSError("the Hub sent other bytes than it lists")
            return data

        return self._call(f"reading {path}", fetched)

    def fetch(self, path: str, commit: str, target: Path) -> None:
        """Write the content of one file, block by block."""

        def fetched() -> None:
            with target.open("wb") as file, self._streamed(path, commit) as answer:
                for piece in answer.iter_bytes():
                    file.write(piece)

        self._call(f"reading {path}", fetched)

    @contextmanager
    def _streamed(self, path: str, commit: str) -> Iterator[Any]:
        """Open the response with a file, without the caches of huggingface_hub, which keep what they download."""
        url = hf_hub_url(self.repo_id, path, repo_type=self._type, revision=commit, endpoint=self._api.endpoint)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        with get_session().stream("GET", url, headers=headers, follow_redirects=True) as answer:
            if answer.is_error:
                answer.read()  # the message of the Hub
            hf_raise_for_status(answer)
            yield answer

    def create(self, *, private: bool | None) -> None:
        """Create the repository; None leaves its visibility to the Hub."""
        self._call(
            f"creating {self.repo_id}",
            lambda: self._api.create_repo(self.repo_id, private=private, repo_type=self._type, exist_ok=True),
        )

    def create_branch(self, start: str) -> None:
        """Create the branch at a commit."""
        self._call(
            f"creating the branch {self.branch}",
            lambda: self._api.create_branch(
                self.repo_id, branch=self.branch, revision=start, repo_type=self._type, exist_ok=True
            ),
        )

    def create_tag(self, tag: str, commit: str) -> None:
        """Tag a commit.

        Raises:
            HubError: another commit has that tag.

        """
        try:
            self._call(
                f"creating the tag {tag}",
                lambda: self._api.create_tag(self.repo_id, tag=tag, revision=commit, repo_type=self._type),
            )
        except HubError as error:
            # After a lost response, the second attempt finds the tag of the first one.
            if error.status != 409 or self.read().tags.get(tag) != commit:
                raise

    def send(self, uploads: Sequence[Upload]) -> None:
        """Send large files that the storage of the Hub lacks, without a commit.

        Raises:
            BuiltFolderError: a file in an object store has other bytes than expected.

        """
        remaining = iter(uploads)
        while group := list(islice(remaining, 1 if any(upload.is_remote for upload in uploads) else _GROUP_FILES)):
            with ExitStack() as stack:
                for upload in group:
                    stack.enter_context(upload.fetched())
                self._call(
                    "sending files",
                    lambda group=group: self._api.preupload_lfs_files(  # type: ignore[misc]
                        self.repo_id,
                        additions=group,
                        repo_type=self._type,
                        revision=self.branch,
                        create_pr=self.create_pr,
                        free_memory=False,
                    ),
                )
            for upload in group:
                upload.report_whole()

    def commit(
        self, uploads: Sequence[Upload], deletions: Sequence[str], *, message: str, parent: str | None
    ) -> tuple[str, str | None]:
        """Make one commit on the branch, or in a pull request to it.

        Returns:
            its hash, and the URL of the pull request.

        Raises:
            HubError: with status 412 if the head is no longer ``parent``.

        """
        operations: list[CommitOperationAdd | CommitOperationDelete] = [*uploads]
        operations += [CommitOperationDelete(path, is_folder=False) for path in deletions]
        call = HubCaller(self.repo_id, self._token, self._patience)
        info = call(
            "committing",
            lambda: self._api.create_commit(
                self.repo_id,
                operations,
                commit_message=message,
                repo_type=self._type,
                revision=self.branch,
                parent_commit=parent,
                create_pr=self.create_pr,
            ),
        )
        return str(info.oid), info.pr_url


class Upload(CommitOperationAdd):
    """A file being sent to the Hub, which reports how much of it was read.

    ``on_sent`` is called with the number of bytes sent, block by block, counting each byte once, from several threads.
    With xet storage, which reads files itself, it is called only after the file is sent.
    """

    def __init__(self, file: LocalFile, on_sent: Callable[[int], None]) -> None:
        self._remote = file.source if isinstance(file.source, RemotePath) else None
        super().__init__(file.path, b"" if isinstance(file.source, RemotePath) else file.source)
        self.upload_info.sha256 = bytes.fromhex(file.sha256)
        self.upload_info.size = file.size_bytes
        self.size_bytes = file.size_bytes
        self._on_sent = on_sent
        self._reported = 0
        self._was_read = False
        self._lock = threading.Lock()

    @property
    def is_remote(self) -> bool:
        """Whether the file is in an object store."""
        return self._remote is not None

    @contextmanager
    def fetched(self) -> Iterator[None]:
        """Hold the content of a file in an object store on this disk.

        Afterwards, it is in memory if the commit is to contain it, and otherwise gone, for it was sent.

        Raises:
            BuiltFolderError: it has other bytes than expected.

        """
        if self._remote is None:
            yield
            return
        with tempfile.TemporaryDirectory(prefix="datasetkit-") as folder:
            path = Path(folder) / self._remote.name
            self._remote.fetch(path)
            if file_sha256(path) != self.upload_info.sha256.hex():
                raise BuiltFolderError(f"{self._remote} has other bytes than its manifest says; build it again")
            self.path_or_fileobj = str(path)
            with path.open("rb") as file:
                self.upload_info.sample = file.read(_SAMPLE_BYTES)
            try:
                yield
            finally:
                self.path_or_fileobj = path.read_bytes() if self._upload_mode == "regular" else b""

    @property
    def was_sent(self) -> bool:
        """Whether the bytes were sent: False if the Hub's storage had them (unknown for xet, which sends parts)."""
        return self._was_read or uses_xet()

    @contextmanager
    def as_file(self, with_tqdm: bool = False) -> Iterator[BinaryIO]:  # noqa: ARG002 - signature of the base class
        """Open the file for huggingface_hub."""
        if isinstance(self.path_or_fileobj, bytes):
            self._report_read(len(self.path_or_fileobj))
            yield io.BytesIO(self.path_or_fileobj)
            return
        with _ToldReader(Path(str(self.path_or_fileobj)), self._report_read) as file:
            yield file

    def report_whole(self) -> None:
        """Report that the rest of the file need not be sent."""
        self._report_up_to(self.size_bytes)

    def _report_read(self, position: int) -> None:
        self._was_read = True
        self._report_up_to(position)

    def _report_up_to(self, position: int) -> None:
        with self._lock:
            new = position - self._reported
            if new > 0:
                self._reported = position
                self._on_sent(new)


class _ToldReader(io.BufferedReader):
    """A file that reports its position after each ``read``."""

    def __init__(self, path: Path, tell: Callable[[int], None]) -> None:
        super().__init__(path.open("rb", buffering=0))
        self._tell_position = tell

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._tell_position(self.tell())
        return data
