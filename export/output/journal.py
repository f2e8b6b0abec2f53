"""The journal of a build: a folder of small and large files, each whole or not there. Owns how files appear in it.

Workers write parts into it while the driver watches, so that every file appears at once, and one that has to be unique
is created by one of them only. Nothing here knows what a file contains.

What a created file names is on disk before it, even if the machine dies: every file is flushed when it is written or
kept, and creating one first flushes the folder, and with it the names of all files before. The created name itself may
be lost with the machine; then its part is built again. So a part with one shard needs five flushes: shard, account,
ledger, marker and folder.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from datasetkit.core.files import flush_to_disk, naming, replace_file
from datasetkit.core.paths import Place

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


class Journal(Protocol):
    """Files of a running build by name; names have no folders.

    Attributes:
        parallel: how many files are worth being read at once.

    """

    parallel: int

    def sizes(self) -> Mapping[str, int]:
        """Return all files, by name, and their sizes in bytes."""
        ...

    def place(self, name: str) -> Place:
        """Return the path or URI of a file."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file.

        Raises:
            FileNotFoundError: there is none of that name.

        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or replace it."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one, and return whether it did; of several processes, one does.

        Files that were written or kept before it are on disk when it appears.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        ...

    def scratch(self, name: str) -> Path:
        """Return where a large file of that name is to be written on this machine, whole, before :meth:`keep`."""
        ...

    def keep(self, name: str, sha256: str) -> None:
        """Make what was written to :meth:`scratch`, whose digest is given, a file of the journal."""
        ...

    def discard(self) -> None:
        """Remove what was written to :meth:`scratch` and not kept."""
        ...


class LocalJournal:
    """A journal in a folder of this machine, or of a file system that several machines share.

    Attributes:
        folder: the folder.

    """

    parallel = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._scratch: set[str] = set()

    def sizes(self) -> Mapping[str, int]:
        """Return all files and their sizes; see :class:`Journal`."""
        sizes = {}
        with os.scandir(self.folder) as found:
            for entry in found:
                with suppress(FileNotFoundError):  # it was removed meanwhile
                    if not entry.is_dir():
                        sizes[entry.name] = entry.stat().st_size
        return sizes

    def place(self, name: str) -> Path:
        """Return the path of a file; see :class:`Journal`."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Return a file; see :class:`Journal`."""
        return (self.folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or replace it; see :class:`Journal`."""
        replace_file(self.folder / name, data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one; see :class:`Journal`.

        A file appears whole under a second name by a hard link, which fails where the name is taken. Where the file
        system has no hard links, it is written under its name directly, and a reader may see its beginning only.
        """
        path = self.folder / name
        beside = self.folder / f"{name}.{secrets.token_hex(4)}"
        with naming(path):
            _write_durably(beside, data)
            flush_to_disk(self.folder)
            try:
                os.link(beside, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with suppress(FileExistsError):
                    _write_durably(path, data)
                    return True
                return False
            finally:
                beside.unlink(missing_ok=True)
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if there is one; see :class:`Journal`."""
        (self.folder / name).unlink(missing_ok=True)

    def scratch(self, name: str) -> Path:
        """Return its own path, since nobody reads a file that no marker names; see :class:`Journal`."""
        self._scratch.add(name)
        return self.folder / name

    def keep(self, name: str, sha256: str) -> None:  # noqa: ARG002 - a file system keeps no digests
        """Flush the file, which is where it belongs already; see :class:`Journal`."""
        flush_to_disk(self.folder / name)
        self._scratch.discard(name)

    def discard(self) -> None:
        """Remove the files that were not kept; see :class:`Journal`."""
        while self._scratch:
            self.remove(self._scratch.pop())


def _write_durably(path: Path, data: bytes) -> None:
    """Write a new file and flush it.

    Raises:
        FileExistsError: there is one.

    """
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
