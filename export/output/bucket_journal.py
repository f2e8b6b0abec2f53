"""The journal of a build in an object store. Owns how files reach it: whole, large ones by way of this disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from datasetkit.core.remote import RemotePath


class BucketJournal:
    """A journal below a URI; see :class:`~datasetkit.export.output.journal.Journal`.

    Args:
        folder: the URI.

    """

    parallel = 16

    def __init__(self, folder: RemotePath) -> None:
        self._folder = folder
        self._scratch: dict[str, Path] = {}

    def sizes(self) -> Mapping[str, int]:
        """Return all files and their sizes."""
        return {name: size for name, size in self._folder.files(missing_ok=True).items() if "/" not in name}

    def place(self, name: str) -> RemotePath:
        """Return the URI of a file."""
        return self._folder / name

    def read(self, name: str) -> bytes:
        """Return a file."""
        return self.place(name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or replace it."""
        self.place(name).write_bytes(data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one; see :meth:`datasetkit.core.remote.RemotePath.create`."""
        return self.place(name).create(data)

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        self.place(name).remove()

    def scratch(self, name: str) -> Path:
        """Return a path in a temporary folder."""
        self._scratch[name] = Path(tempfile.mkdtemp(prefix="datasetkit-")) / name
        return self._scratch[name]

    def keep(self, name: str, sha256: str) -> None:
        """Upload what was written to :meth:`scratch`."""
        self.place(name).send(self._scratch[name], sha256, lambda _: None)
        shutil.rmtree(self._scratch.pop(name).parent)

    def discard(self) -> None:
        """Remove the temporary folders of files that were not kept."""
        while self._scratch:
            shutil.rmtree(self._scratch.popitem()[1].parent, ignore_errors=True)
