"""Files in remote stores. Owns every request to a store, and the errors of failed ones.

A :class:`RemotePath` has the methods of ``pathlib.Path`` that sources need, and fails like a file, with an ``OSError``
that contains the URI and one line. Credentials come from where the package of each store looks for them.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

from datasetkit.core.addresses import check_written
from datasetkit.core.stores import S3_PROTOCOLS, failures, open_store, with_hint

_BUFFER_BYTES = 2**20
_COPY_BYTES = 2**23
_DIGEST_KEY = "sha256"
# S3 answers so while somebody else is writing the same file under a condition.
_MOST_CONFLICTS = 3


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """The known part of ``os.stat_result``: the size in bytes (0 for a folder), and the kind, without permissions.

    ``version`` changes with the content: an ETag, or the time if the store has no ETags; None if it has neither.
    """

    st_size: int
    st_mode: int
    version: str | None = None


class RemotePath:
    """A file or folder below a URI. No request is sent before a method needs it.

    Args:
        base: the URI as the user wrote it.
        below: path relative to it, ``/`` between parts; empty for the URI itself.

    """

    __slots__ = ("_base", "_below")

    def __init__(self, base: str, below: str = "") -> None:
        self._base = base
        self._below = below

    def __str__(self) -> str:
        return f"{self._base}/{self._below}" if self._below else self._base

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str | PurePath) -> RemotePath:
        """Return the file or folder of a relative name below this one; callers check names that lead outside."""
        relative = PurePosixPath(self._below, name)
        return RemotePath(self._base, relative.as_posix())

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(str(self)).name

    @property
    def parent(self) -> RemotePath:
        """The folder that contains it; the base URI is in itself."""
        below = PurePosixPath(self._below).parent.as_posix()
        return RemotePath(self._base, "" if below == "." else below)

    @property
    def parted(self) -> tuple[RemotePath, str]:
        """The parts of the path, beginning with the base URI."""
        return RemotePath(self._base), self._below

    @property
    def protocol(self) -> str:
        """The part before ``://``."""
        return self._base.partition("://")[0]

    def stat(self) -> RemoteStatus:
        """Return size and kind.

        Raises:
            FileNotFoundError: it does not exist.
            OSError: the store refuses, cannot be reached, or does not report the size.

        """
        with self._located() as (store, path):
            info = store.info(path)
        if info["type"] == "directory":
            return RemoteStatus(0, stat.S_IFDIR)
        if not isinstance(info["size"], int):
            raise OSError(errno.EINVAL, "its size is unknown, so that limits cannot be checked", str(self))
        return RemoteStatus(info["size"], stat.S_IFREG, _version(info))

    def is_dir(self) -> bool:
        """Whether it is a folder: a bucket, or a prefix of files."""
        return self._has_mode(stat.S_ISDIR)

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._has_mode(stat.S_ISREG)

    def exists(self) -> bool:
        """Whether it exists."""
        return self._has_mode(bool)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open a file for reading."""
        if mode != "rb":
            raise ValueError(f"a remote file can only be opened with mode rb, not {mode!r}")
        return io.BufferedReader(_RemoteFile(self), _BUFFER_BYTES)

    def read_bytes(self) -> bytes:
        """Return the whole file."""
        with self._located() as (store, path):
            data: bytes = store.cat_file(path)
        return data

    def fetch(self, target: Path) -> None:
        """Download the whole file."""
        with self.open() as remote, target.open("wb") as local:
            shutil.copyfileobj(remote, local, _COPY_BYTES)

    def read_range(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to, but not including, ``end``."""
        with self._located() as (store, path):
            data: bytes = store.cat_file(path, start=start, end=end)
        return data

    def children(self) -> set[str]:
        """Return the names of the files and folders directly below; none if there is nothing."""
        with suppress(FileNotFoundError), self._located() as (store, root):
            store.invalidate_cache()
            names = store.ls(root, detail=False)
            store.invalidate_cache()
            prefix = root.rstrip("/") + "/"
            found = (name.removeprefix(prefix).rstrip("/") for name in names if name.startswith(prefix))
            return {name for name in found if name}
        return set()

    def files(self, *, missing_ok: bool = False) -> dict[str, int]:
        """Return all files below with their sizes, by name relative to this folder; may be empty.

        With ``missing_ok``, there is none where the store says that there is no such folder, or no bucket.
        """
        with suppress(*([FileNotFoundError] if missing_ok else [])):
            return {name: status.st_size for name, status in self.statuses().items()}
        return {}

    def statuses(self) -> dict[str, RemoteStatus]:
        """Return all files below as :meth:`files` does, with the result of :meth:`stat`."""
        with self._located() as (store, root):
            store.invalidate_cache()
            found = store.find(root, detail=True)
            store.invalidate_cache()  # a cache would hold every name, and answer when it is out of date
        prefix = root.rstrip("/") + "/"
        files = ((path.removeprefix(prefix), info) for path, info in found.items() if path.startswith(prefix))
        return {
            name: RemoteStatus(info["size"], stat.S_IFREG, _version(info))
            for name, info in files
            if info["type"] == "file" and not name.endswith("/")
        }

    def send(self, source: Path, sha256: str, on_sent: Callable[[int], None]) -> None:
        """Upload a local file; it appears when it is complete.

        Args:
            source: the file.
            sha256: hex digest of its bytes; S3 stores it as metadata.
            on_sent: called with the number of bytes sent, block by block.

        Raises:
            AddressError: the location cannot be written, such as the Hub.

        """
        from fsspec.callbacks import Callback

        class Told(Callback):
            def relative_update(self, inc: int = 1) -> None:
                on_sent(inc)

        check_written(self.protocol, self)
        beside = {"Metadata": {_DIGEST_KEY: sha256}} if self.keeps_digests else {}
        with self._located() as (store, path):
            if not beside:
                store.makedirs(store._parent(path), exist_ok=True)
            store.put_file(str(source), path, callback=Told(), **beside)

    @property
    def keeps_digests(self) -> bool:
        """Whether the store keeps the metadata of :meth:`send`."""
        return self.protocol in S3_PROTOCOLS

    def sha256(self) -> str | None:
        """Return the digest that :meth:`send` stored as metadata; None if something else wrote the file."""
        with self._located() as (store, path):
            digest: str | None = store.metadata(path).get(_DIGEST_KEY)
        return digest

    def write_bytes(self, data: bytes) -> None:
        """Write a small file."""
        check_written(self.protocol, self)
        with self._located() as (store, path):
            store.pipe_file(path, data)

    def create(self, data: bytes) -> bool:
        """Write a small file unless there is one; return whether this call did.

        Of several processes one does, where the store has conditional writes: S3, Google Cloud Storage and Azure have
        them, some other stores with the protocol of S3 ignore them, and a bucket of the Hub has none: there, the file
        is written unless it was there a moment before. ``data`` must differ between processes: a request that is
        repeated after a lost response would otherwise fail because of itself.
        """
        check_written(self.protocol, self)
        if not self.has_conditions:
            if self.exists():
                return False
            self.write_bytes(data)
            return True
        for _ in range(_MOST_CONFLICTS):
            try:
                with self._located() as (store, path):
                    store.pipe_file(path, data, mode="create")
            except PermissionError:
                raise
            except OSError as error:
                failure = error
            else:
                return True
            with suppress(FileNotFoundError):
                return self.read_bytes() == data
        raise failure

    @property
    def has_conditions(self) -> bool:
        """Whether the store's package can write a file on the condition that there is none."""
        return self.protocol != "hf"

    def copy_to(self, target: RemotePath, sha256: str) -> None:
        """Copy a file within the store, which does so itself; ``sha256`` is that of its bytes.

        Raises:
            FileNotFoundError: it does not exist.

        """
        check_written(target.protocol, target)
        # S3 copies metadata, except those of files that are too large for a single request.
        beside = {"Metadata": {_DIGEST_KEY: sha256}} if self.keeps_digests else {}
        with self._located() as (store, path):
            store.cp_file(path, target._path_in(open_store(target._base)[1]), **beside)

    def remove(self) -> None:
        """Delete one file, if there is one."""
        check_written(self.protocol, self)
        with suppress(FileNotFoundError), self._located() as (store, path):
            store.rm_file(path)

    def _path_in(self, root: str) -> str:
        return f"{root}/{self._below}" if self._below else root

    def _has_mode(self, test: Callable[[int], bool]) -> bool:
        try:
            return test(self.stat().st_mode)
        except FileNotFoundError:
            return False

    @contextmanager
    def _located(self) -> Iterator[tuple[Any, str]]:
        """Return the store and the path in it; names below the URI are never read as URIs.

        Errors of the store's package become an ``OSError`` of one line.
        """
        try:
            store, root = open_store(self._base)
            yield store, self._path_in(root)
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "does not exist", str(self)) from error
        except PermissionError as error:
            raise PermissionError(errno.EACCES, f"access is refused ({with_hint(error)})", str(self)) from error
        except failures() as error:
            raise OSError(getattr(error, "errno", None) or errno.EIO, with_hint(error), str(self)) from error


def _version(info: Mapping[str, Any]) -> str | None:
    """Return the version of a file's content, whose name differs between stores."""
    found = (info.get(key) for key in ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "mtime", "created"))
    return next((str(value).strip('"') for value in found if value is not None), None)


class _RemoteFile(io.RawIOBase):
    """A remote file that is read in blocks; each block is one request."""

    def __init__(self, path: RemotePath) -> None:
        self._path = path
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        self._size = status.st_size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(self._path))
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readall(self) -> bytes:
        data = self._path.read_range(self._at, self._size) if self._at < self._size else b""
        self._at += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        data = self._path.read_range(self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
