"""Files in remote stores. Owns every request to a store, and how its failures are told.

A :class:`RemotePath` answers to those methods of ``pathlib.Path`` that sources need, and fails as files do, with an
``OSError`` that holds the address and one line. Credentials come from where each store's own package looks for them.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

from datasetkit.core.addresses import check_written
from datasetkit.core.stores import S3_PROTOCOLS, failures, open_store, with_hint

_BUFFER_BYTES = 2**20
_DIGEST_KEY = "sha256"


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """What of ``os.stat_result`` is known: the size in bytes, 0 for a folder, and the kind, without permissions.

    ``version`` changes with the content: an ETag, or the time where the store has none; None where it has neither.
    """

    st_size: int
    st_mode: int
    version: str | None = None


class RemotePath:
    """A file or a folder below an address. Nothing is asked before a method needs it.

    Args:
        base: the address as a person wrote it.
        below: relative to it, ``/`` between parts; empty for the address itself.

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
        """Give what has that relative name below this place; whether the name leads out is for others to check."""
        relative = PurePosixPath(self._below, name)
        return RemotePath(self._base, relative.as_posix())

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(str(self)).name

    @property
    def parted(self) -> tuple[RemotePath, str]:
        """The address itself, and what is below it."""
        return RemotePath(self._base), self._below

    @property
    def protocol(self) -> str:
        """What stands before ``://``."""
        return self._base.partition("://")[0]

    def stat(self) -> RemoteStatus:
        """Ask for size and kind.

        Raises:
            FileNotFoundError: there is nothing.
            OSError: the store refuses, cannot be reached, or does not tell the size.

        """
        with self._located() as (store, path):
            info = store.info(path)
        if info["type"] == "directory":
            return RemoteStatus(0, stat.S_IFDIR)
        if not isinstance(info["size"], int):
            raise OSError(errno.EINVAL, "its size is not known, so that no limit could be kept", str(self))
        return RemoteStatus(info["size"], stat.S_IFREG, _version(info))

    def is_dir(self) -> bool:
        """Whether there is a folder: a bucket, or a prefix of files."""
        return self._has_mode(stat.S_ISDIR)

    def is_file(self) -> bool:
        """Whether there is a file."""
        return self._has_mode(stat.S_ISREG)

    def exists(self) -> bool:
        """Whether there is anything."""
        return self._has_mode(bool)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open a file for reading."""
        if mode != "rb":
            raise ValueError(f"a remote file opens as rb, not {mode!r}")
        return io.BufferedReader(_RemoteFile(self), _BUFFER_BYTES)

    def read_bytes(self) -> bytes:
        """Fetch the whole file."""
        with self._located() as (store, path):
            data: bytes = store.cat_file(path)
        return data

    def read_range(self, start: int, end: int) -> bytes:
        """Fetch the bytes from ``start`` up to, not including, ``end``."""
        with self._located() as (store, path):
            data: bytes = store.cat_file(path, start=start, end=end)
        return data

    def files(self) -> dict[str, int]:
        """List every file below, by its name relative to here, with its size; empty where there is nothing."""
        return {name: status.st_size for name, status in self.statuses().items()}

    def statuses(self) -> dict[str, RemoteStatus]:
        """List every file below as :meth:`files` does, with what :meth:`stat` tells."""
        with self._located() as (store, root):
            store.invalidate_cache()
            found = store.find(root, detail=True)
            store.invalidate_cache()  # it would hold every name, and answer when it is out of date
        prefix = root.rstrip("/") + "/"
        files = ((path.removeprefix(prefix), info) for path, info in found.items() if path.startswith(prefix))
        return {
            name: RemoteStatus(info["size"], stat.S_IFREG, _version(info))
            for name, info in files
            if info["type"] == "file" and not name.endswith("/")
        }

    def send(self, source: Path, sha256: str, on_sent: Callable[[int], None]) -> None:
        """Write a local file here; it appears when it is whole.

        Args:
            source: the file.
            sha256: hex digest of its bytes; S3 keeps it beside them.
            on_sent: told the number of bytes sent, piece by piece.

        Raises:
            AddressError: nothing may be written there, as on the Hub.

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
        """Whether the store keeps what :meth:`send` says of a file beside it."""
        return self.protocol in S3_PROTOCOLS

    def sha256(self) -> str | None:
        """Give the digest that :meth:`send` left beside the file; None where something else wrote it."""
        with self._located() as (store, path):
            digest: str | None = store.metadata(path).get(_DIGEST_KEY)
        return digest

    def write_bytes(self, data: bytes) -> None:
        """Write a small file."""
        check_written(self.protocol, self)
        with self._located() as (store, path):
            store.pipe_file(path, data)

    def remove(self) -> None:
        """Delete one file."""
        check_written(self.protocol, self)
        with self._located() as (store, path):
            store.rm_file(path)

    def _has_mode(self, test: Callable[[int], bool]) -> bool:
        try:
            return test(self.stat().st_mode)
        except FileNotFoundError:
            return False

    @contextmanager
    def _located(self) -> Iterator[tuple[Any, str]]:
        """Return the store and this location's path in it; names below the address are never read as addresses.

        Whatever the store's package raises becomes an ``OSError`` of one line.
        """
        try:
            store, root = open_store(self._base)
            yield store, f"{root}/{self._below}" if self._below else root
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "is not there", str(self)) from error
        except PermissionError as error:
            raise PermissionError(errno.EACCES, f"access is refused ({with_hint(error)})", str(self)) from error
        except failures() as error:
            raise OSError(getattr(error, "errno", None) or errno.EIO, with_hint(error), str(self)) from error


def _version(info: Mapping[str, Any]) -> str | None:
    """Return what a store tells of a file's content; stores spell it differently."""
    found = (info.get(key) for key in ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "mtime", "created"))
    return next((str(value).strip('"') for value in found if value is not None), None)


class _RemoteFile(io.RawIOBase):
    """A remote file that is read in pieces; each piece is one request."""

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
