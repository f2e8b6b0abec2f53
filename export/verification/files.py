"""Files of a built dataset, local or remote. Owns the common interface that verification needs."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datasetkit.export.dataset.manifest import ASSETS_FOLDER, DATA_FOLDER, PAPERS
from datasetkit.export.output.bucket import has_unfinished
from datasetkit.export.output.folder import is_unfinished


class DatasetFiles(ABC):
    """Names of the files of a dataset, and a local path for each that is read.

    Args:
        papers: folder with manifest, ledger, recipe, statistics and card, as far as they exist.
        names: relative names of all files from which a dataset may be read, ``/`` between parts.
        data_names: names among them that must be shards.

    Attributes:
        is_local: whether the files are on this machine, so that other processes can read them.

    """

    is_local: ClassVar[bool] = False

    def __init__(self, papers: Path, names: Iterable[str], data_names: Iterable[str]) -> None:
        self.papers = papers
        self.names = frozenset(names)
        self.data_names = frozenset(data_names)

    @property
    @abstractmethod
    def is_unfinished(self) -> bool:
        """Whether there is no dataset yet, or it is just being exchanged."""

    @abstractmethod
    def opened(self, name: str) -> AbstractContextManager[Path]:
        """Yield a local path of one of the files, valid inside the context."""

    def tell(self, message: str) -> str:
        """Return a message about the files without temporary paths."""
        return message


class FolderFiles(DatasetFiles):
    """The files of a folder that ``datasetkit build`` wrote: at the top, of the data and of the plots."""

    is_local = True

    def __init__(self, folder: Path) -> None:
        data = [path for path in (folder / DATA_FOLDER).rglob("*") if not path.is_dir()]  # also broken links
        others = (path for path in (*folder.glob("*"), *(folder / ASSETS_FOLDER).rglob("*")) if path.is_file())
        data_names, names = ({path.relative_to(folder).as_posix() for path in paths} for paths in (data, others))
        super().__init__(folder, data_names | names, data_names)

    @property
    def is_unfinished(self) -> bool:
        """Whether a build is being published there, or was never."""
        return is_unfinished(self.papers)

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Yield the path of the file itself."""
        yield self.papers / name


class FetchedFiles(DatasetFiles):
    """The files of a remote dataset. A shard is on this disk only while it is open.

    Args:
        title: location of the dataset, for messages.
        names: names of all files.
        folder: empty folder for the papers, which are downloaded now, and for one shard at a time.

    """

    def __init__(self, title: str, names: Iterable[str], folder: Path) -> None:
        names = frozenset(names)
        data = (name for name in names if name.startswith(f"{DATA_FOLDER}/") and name.endswith(".parquet"))
        super().__init__(folder, names, data)
        self._title = title
        for name in names.intersection(PAPERS):
            self._fetch(name, folder / name)

    @property
    def is_unfinished(self) -> bool:
        """Whether a build in an object store is being published, or was never."""
        return has_unfinished(self.names)

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Download one file; it is deleted when the context ends."""
        # In a separate folder, and by its last part only: no name leads outside.
        with tempfile.TemporaryDirectory(dir=self.papers) as folder:
            path = Path(folder) / PurePosixPath(name).name
            self._fetch(name, path)
            yield path

    def tell(self, message: str) -> str:
        """Return the message with the location of the dataset in place of the temporary folder."""
        return message.replace(str(self.papers), self._title)

    @abstractmethod
    def _fetch(self, name: str, path: Path) -> None:
        """Write one file to a local path."""
