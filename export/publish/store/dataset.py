"""A dataset in a remote store, read file by file. Owns its downloads, and their removal."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.remote import RemotePath
from datasetkit.export.verification.files import FetchedFiles


class RemoteFiles(FetchedFiles):
    """The files of a remote folder, opened by :func:`remote_files`."""

    def __init__(self, place: RemotePath, folder: Path) -> None:
        self._place = place
        names = place.files()
        if not names:
            raise BuiltFolderError(f"there is nothing at {place}; give a URI that `datasetkit push` wrote to")
        super().__init__(str(place), names, folder)

    def _fetch(self, name: str, path: Path) -> None:
        (self._place / name).fetch(path)


@contextmanager
def remote_files(place: RemotePath) -> Iterator[RemoteFiles]:
    """Open a remote dataset, of which nothing stays on the disk afterwards.

    Raises:
        BuiltFolderError: there is nothing.
        OSError: the store refuses access, or cannot be reached.

    """
    with tempfile.TemporaryDirectory(prefix="datasetkit-") as folder:
        yield RemoteFiles(place, Path(folder))
