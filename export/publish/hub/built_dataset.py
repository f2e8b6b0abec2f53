"""A built folder as a push sees it. Owns which files of the push before a dataset's next push deletes."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from datasetkit.core.errors import HubError
from datasetkit.core.text import counted
from datasetkit.export.dataset.manifest import CARD_NAME, MANIFEST_NAME, Manifest
from datasetkit.export.publish.files import LocalFile, files_to_publish
from datasetkit.export.publish.former import check_others, former_files
from datasetkit.export.publish.hub.contents import Contents
from datasetkit.export.publish.hub.repository import HubRepository, RepositoryState, RepoType
from datasetkit.runtime.progress import OnProgress


@dataclass(frozen=True, slots=True)
class BuiltDataset(Contents):
    """What ``datasetkit build`` wrote."""

    folder: Path
    manifest: Manifest

    repo_type: ClassVar[RepoType] = "dataset"
    papers: ClassVar[Set[str]] = frozenset({CARD_NAME, MANIFEST_NAME})

    @classmethod
    def read(cls, folder: Path) -> BuiltDataset:
        """Read the manifest.

        Raises:
            BuiltFolderError: there is none, or it is not one of ours.

        """
        return cls(folder, Manifest.read(folder))

    @property
    def commit_title(self) -> str:
        """The number of records, and which code built them."""
        rows = sum(self.manifest.split_rows.values())
        return f"Push {counted(rows, 'record')} with datasetkit {self.manifest.code_version}"

    def read_files(self, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
        """Hash shards and what describes them.

        Raises:
            BuiltFolderError: as :func:`~datasetkit.export.publish.files.files_to_publish` would.

        """
        return files_to_publish(self.folder, self.manifest, on_progress)

    def find_deletions(self, repository: HubRepository, state: RepositoryState, wanted: Set[str]) -> tuple[str, ...]:
        """Name shards and generated files of the push before that the folder does not have.

        Raises:
            HubError: the Hub's manifest cannot be read, or shards there would mix with the folder's.

        """
        name = repository.repo_id
        former: set[str] = set()
        if state.head is not None and MANIFEST_NAME in state.files:
            former = set(former_files(repository.read_file(MANIFEST_NAME, state.head), name, HubError))
        check_others(state.files.keys() - wanted - former, self.manifest, name, HubError)
        return tuple(sorted(former & (state.files.keys() - wanted)))
