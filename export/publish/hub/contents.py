"""Contents of a push. Owns all differences between a built dataset and a tuned adapter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Set
from typing import ClassVar

from datasetkit.core.addresses import RepoType
from datasetkit.core.paths import Place
from datasetkit.export.publish.files import LocalFile
from datasetkit.export.publish.hub.repository import HubRepository, RepositoryState
from datasetkit.runtime.progress import OnProgress


class Contents(ABC):
    """A folder of the expected kind, or a prefix in an object store; its files have not been read yet."""

    folder: Place
    repo_type: ClassVar[RepoType]
    papers: ClassVar[Set[str]]
    """Names of small files that are read back completely after the commit."""

    @property
    @abstractmethod
    def commit_title(self) -> str:
        """Title of the commit."""

    @abstractmethod
    def read_files(self, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
        """Check and hash the published files, which include a card (``README.md``).

        Raises:
            DatasetkitError: a file is missing or invalid.

        """

    @abstractmethod
    def others(self, published: Iterable[str]) -> tuple[str, ...]:
        """Return the files that are not published."""

    @abstractmethod
    def former_files(
        self, repository: HubRepository, state: RepositoryState, card: str | None
    ) -> Mapping[str, str | None]:
        """Return the files that earlier pushes wrote, except the card.

        Args:
            repository: destination of the push.
            state: contents of the repository.
            card: text of its card; None if it has none.

        Returns:
            paths with the first digits of their SHA-256 at that time; None if unknown.

        """

    def check_others(self, others: Iterable[str], repo_id: str) -> None:  # noqa: B027 - those of an adapter never mix
        """Refuse foreign files, unless they are replaced, that would mix with those of the folder.

        Raises:
            HubError: there is such a file.

        """
