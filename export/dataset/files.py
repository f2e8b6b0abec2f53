"""Files of a built dataset, wherever they are. Owns what verification asks of a folder and of a repository alike."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from datasetkit.export.dataset.manifest import ASSETS_FOLDER, DATA_FOLDER


class DatasetFiles(Protocol):
    """What a dataset's files are called, and a local path for each that is read."""

    @property
    def names(self) -> frozenset[str]:
        """Every file that a dataset may be read from, relative, ``/`` between parts."""

    @property
    def data_names(self) -> frozenset[str]:
        """Those of :attr:`names` that must be shards."""

    @property
    def papers(self) -> Path:
        """Folder that holds manifest, ledger, recipe, statistics and card, as far as they are there."""

    def opened(self, name: str) -> AbstractContextManager[Path]:
        """Give a local path of one file of :attr:`names`, good while the context lasts."""

    def tell(self, message: str) -> str:
        """Give a message about the files with no path in it that nobody knows."""


class FolderFiles:
    """The files of a folder.

    Args:
        folder: what ``datasetkit build`` wrote.

    """

    def __init__(self, folder: Path) -> None:
        self.papers = folder

    @cached_property
    def names(self) -> frozenset[str]:
        """Every file at the top, of the data and of the plots."""
        found = [*self.papers.glob("*"), *(self.papers / ASSETS_FOLDER).rglob("*")]
        return self.data_names | {self._name(path) for path in found if path.is_file()}

    @cached_property
    def data_names(self) -> frozenset[str]:
        """Every file of the data, links that lead nowhere among them."""
        return frozenset(self._name(path) for path in (self.papers / DATA_FOLDER).rglob("*") if not path.is_dir())

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Give the file itself."""
        yield self.papers / name

    def tell(self, message: str) -> str:
        """Give the message as it is."""
        return message

    def _name(self, path: Path) -> str:
        return path.relative_to(self.papers).as_posix()


class FetchedFiles(ABC):
    """The files of a dataset elsewhere. A shard is on this disk only while it is open.

    Args:
        title: where they are, for messages.
        names: of all of them.
        folder: an empty one, for the papers and one shard at a time.

    """

    def __init__(self, title: str, names: Iterable[str], folder: Path) -> None:
        self._title = title
        self.names = frozenset(names)
        data = (name for name in self.names if name.startswith(f"{DATA_FOLDER}/") and name.endswith(".parquet"))
        self.data_names = frozenset(data)
        self.papers = folder

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Fetch one file; it is deleted when the context ends."""
        # Under a folder of its own, and by its last part alone: no name leads out of there.
        with tempfile.TemporaryDirectory(dir=self.papers) as folder:
            path = Path(folder) / PurePosixPath(name).name
            self._fetch(name, path)
            yield path

    def tell(self, message: str) -> str:
        """Give the message with where the files are in place of the temporary folder."""
        return message.replace(str(self.papers), self._title)

    @abstractmethod
    def _fetch(self, name: str, path: Path) -> None:
        """Write one file to a local path."""
