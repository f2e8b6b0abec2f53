"""What a push publishes. Owns all in which a built dataset and a tuned adapter differ to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set
from typing import ClassVar

from datasetkit.export.publish.files import LocalFile
from datasetkit.export.publish.hub.repository import HubRepository, RepositoryState, RepoType
from datasetkit.runtime.progress import OnProgress


class Contents(ABC):
    """A folder that looks like what it should be; its files are not read yet."""

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

    def find_deletions(
        self,
        repository: HubRepository,  # noqa: ARG002 - a dataset's needs all of them
        state: RepositoryState,  # noqa: ARG002
        wanted: Set[str],  # noqa: ARG002
    ) -> tuple[str, ...]:
        """Name the files of earlier pushes that the folder does not have any more; none where each has the same files.

        ``wanted`` are the paths that the repository is to hold of the folder.

        Raises:
            HubError: nobody can know them, or other files there would mix with the folder's.

        """
        return ()
