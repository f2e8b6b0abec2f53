"""What a push publishes. Owns all in which a built dataset and a tuned adapter differ to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import ClassVar

from datasetkit.core.addresses import RepoType
from datasetkit.export.publish.files import LocalFile
from datasetkit.export.publish.hub.repository import HubRepository, RepositoryState
from datasetkit.runtime.progress import OnProgress


class Contents(ABC):
    """A folder that looks like what it should be; its files are not read yet."""

    folder: Path
    repo_type: ClassVar[RepoType]
    papers: ClassVar[Set[str]]
    """Names of small files that are read back whole after the commit."""

    @property
    @abstractmethod
    def commit_title(self) -> str:
        """What the one commit is called."""

    @abstractmethod
    def read_files(self, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
        """Check and hash what is published, a card (``README.md``) among it.

        Raises:
            DatasetkitError: a file is missing, or not what it should be.

        """

    @abstractmethod
    def former_files(
        self, repository: HubRepository, state: RepositoryState, card: str | None
    ) -> Mapping[str, str | None]:
        """Read which files earlier pushes wrote, the card apart.

        Args:
            repository: that is pushed to.
            state: what it holds.
            card: the text of its card; None where it has none.

        Returns:
            paths with the first digits of their sha256 then, None where nobody knows them.

        """

    def check_others(self, others: Iterable[str], repo_id: str) -> None:  # noqa: B027 - none of an adapter's do
        """Refuse files there, neither ours nor replaced, that would mix with the folder's.

        Raises:
            HubError: there is such a file.

        """
