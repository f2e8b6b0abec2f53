"""Files of a built dataset, wherever they are. Owns what verification asks of a folder and of a repository alike."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath

from datasetkit.export.dataset.manifest import ASSETS_FOLDER, DATA_FOLDER, PAPERS


class DatasetFiles(ABC):
    """What a dataset's files are called, and a local path for each that is read.

    Args:
        papers: folder that holds manifest, ledger, recipe, statistics and card, as far as they are there.
        names: every file that a dataset may be read from, relative, ``/`` between parts.
        data_names: those of them that must be shards.

    """

    def __init__(self, papers: Path, names: Iterable[str], data_names: Iterable[str]) -> None:
        self.papers = papers
        self.names = frozenset(names)
        self.data_names = frozenset(data_names)

    @abstractmethod
    def opened(self, name: str) -> AbstractContextManager[Path]:
        """Give a local path of one of the files, good while the context lasts."""

    def tell(self, message: str) -> str:
        """Give a message about the files with no path in it that nobody knows."""
        return message


class FolderFiles(DatasetFiles):
    """The files of a folder that ``datasetkit build`` wrote: at its top, of the data and of the plots."""

    def __init__(self, folder: Path) -> None:
        data = [path for path in (folder / DATA_FOLDER).rglob("*") if not path.is_dir()]  # also links that lead nowhere
        others = (path for path in (*folder.glob("*"), *(folder / ASSETS_FOLDER).rglob("*")) if path.is_file())
        data_names, names = ({path.relative_to(folder).as_posix() for path in paths} for paths in (data, others))
        super().__init__(folder, data_names | names, data_names)

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Give the file itself."""
        yield self.papers / name


class FetchedFiles(DatasetFiles):
    """The files of a dataset elsewhere. A shard is on this disk only while it is open.

    Args:
        title: where they are, for messages.
        names: of all of them.
        folder: an empty one, for the papers, which are fetched now, and one shard at a time.

    """

    def __init__(self, title: str, names: Iterable[str], folder: Path) -> None:
        names = frozenset(names)
        data = (name for name in names if name.startswith(f"{DATA_FOLDER}/") and name.endswith(".parquet"))
        super().__init__(folder, names, data)
        self._title = title
        for name in names.intersection(PAPERS):
            self._fetch(name, folder / name)

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
