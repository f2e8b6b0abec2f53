"""Publishing of a built dataset. Owns which files in a dataset repository earlier pushes wrote."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from datasetkit.core.addresses import RepoType
from datasetkit.core.errors import HubError
from datasetkit.core.paths import Place
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import counted
from datasetkit.export.card.pushed import written_files
from datasetkit.export.dataset.manifest import CARD_NAME, MANIFEST_NAME, Manifest
from datasetkit.export.publish.files import LocalFile, files_to_publish, unpublished
from datasetkit.export.publish.former import check_others, former_files, is_name_of_ours
from datasetkit.export.publish.hub.contents import Contents
from datasetkit.export.publish.hub.repository import HubRepository, RepositoryState
from datasetkit.export.publish.store.stored import stored_files, stored_others
from datasetkit.runtime.progress import OnProgress


@dataclass(frozen=True, slots=True)
class Dataset(Contents):
    """A dataset that ``datasetkit build`` wrote."""

    folder: Place
    manifest: Manifest

    repo_type: ClassVar[RepoType] = "dataset"
    papers: ClassVar[Set[str]] = frozenset({CARD_NAME, MANIFEST_NAME})

    @property
    def commit_title(self) -> str:
        """Title of the commit: the number of records, and the version that built them."""
        rows = sum(self.manifest.split_rows.values())
        return f"Push {counted(rows, 'record')} with datasetkit {self.manifest.code_version}"

    def former_files(
        self, repository: HubRepository, state: RepositoryState, card: str | None
    ) -> dict[str, str | None]:
        """Read the manifest on the Hub, and the line of the last push in the card."""
        found: dict[str, str | None] = {}
        if state.head is not None and MANIFEST_NAME in state.files:
            found = former_files(
                repository.read_file(MANIFEST_NAME, state.head, state.files[MANIFEST_NAME]), is_noted=True
            )
        written = written_files(card or "")
        return found | {path: digits for path, digits in written.items() if is_name_of_ours(path)}

    def check_others(self, others: Iterable[str], repo_id: str) -> None:
        """Refuse shards that ``load_dataset`` would read in addition to those of the folder."""
        check_others(others, self.manifest, repo_id, HubError)


@dataclass(frozen=True, slots=True)
class BuiltDataset(Dataset):
    """A dataset in a folder."""

    folder: Path

    @classmethod
    def read(cls, folder: Path) -> BuiltDataset:
        """Read the manifest.

        Raises:
            BuiltFolderError: there is no manifest, or datasetkit did not write it.

        """
        return cls(folder, Manifest.read(folder))

    def read_files(self, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
        """Hash shards and the files that describe them.

        Raises:
            BuiltFolderError: see :func:`~datasetkit.export.publish.files.files_to_publish`.

        """
        return files_to_publish(self.folder, self.manifest, on_progress)

    def others(self, published: Iterable[str]) -> tuple[str, ...]:
        """Return the other files of the folder."""
        return unpublished(self.folder, published)


@dataclass(frozen=True, slots=True)
class StoredDataset(Dataset):
    """A dataset in an object store; of its shards, one at a time is on this disk while it is sent."""

    folder: RemotePath

    @classmethod
    def read(cls, folder: RemotePath) -> StoredDataset:
        """Read the manifest.

        Raises:
            BuiltFolderError: there is no manifest, or datasetkit did not write it.

        """
        return cls(folder, Manifest.read(folder))

    def read_files(self, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
        """Read the files that describe the shards, and what the store says about these.

        Raises:
            BuiltFolderError: see :func:`~datasetkit.export.publish.store.stored.stored_files`.

        """
        return stored_files(self.folder, self.manifest, on_progress)

    def others(self, published: Iterable[str]) -> tuple[str, ...]:
        """Return the other files below the URI."""
        return stored_others(self.folder, published)
