"""A built folder as a push sees it. Owns which files of the push before a dataset's next push deletes."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from datasetkit.core.errors import HubError
from datasetkit.export.dataset.manifest import CARD_NAME, DATA_FOLDER, MANIFEST_NAME, Manifest, is_generated_name
from datasetkit.export.publish.counting import OnProgress, counter
from datasetkit.export.publish.files import LocalFile, files_to_publish, is_shard_name
from datasetkit.export.publish.hub.repository import HubRepository, RepositoryState, RepoType


@dataclass(frozen=True, slots=True)
class BuiltDataset:
    """What ``datasetkit build`` wrote, as :class:`~datasetkit.export.publish.hub.contents.Contents`.

    Args:
        folder: where it is.
        manifest: its manifest.

    """

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
        return f"Push {rows:,} {'record' if rows == 1 else 'records'} with datasetkit {self.manifest.code_version}"

    def read_files(self, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
        """Hash shards and what describes them.

        Raises:
            BuiltFolderError: as :func:`~datasetkit.export.publish.files.files_to_publish` would.

        """
        total = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return files_to_publish(self.folder, self.manifest, counter("checking", total, on_progress))

    def find_deletions(self, repository: HubRepository, state: RepositoryState, wanted: Set[str]) -> tuple[str, ...]:
        """Name shards and generated files of the push before that the folder does not have.

        Raises:
            HubError: the Hub's manifest cannot be read, or shards there would mix with the folder's.

        """
        former = _former_files(repository, state)
        splits = tuple(f"{DATA_FOLDER}/{split}-" for split in self.manifest.split_rows)
        others = state.files.keys() - wanted - former
        strange = [path for path in others if path.startswith(splits) and path.endswith(".parquet")]
        if strange:
            raise HubError(
                f"{repository.repo_id} has {min(strange)}, which no push of datasetkit wrote and load_dataset would "
                "read as part of this dataset; rename or delete it there, or push to another repository"
            )
        return tuple(sorted(former & (state.files.keys() - wanted)))


def _former_files(repository: HubRepository, state: RepositoryState) -> set[str]:
    """Name shards and generated files of the push before, by its manifest; what else it lists is not ours to delete."""
    if state.head is None or MANIFEST_NAME not in state.files:
        return set()
    try:
        value = json.loads(repository.read_file(MANIFEST_NAME, state.head))
        paths = [shard["path"] for part in value["parts"] for shard in part["shards"]]
        paths += value.get("files", [])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HubError(
            f"the {MANIFEST_NAME} of {repository.repo_id} is none of datasetkit ({error!r}), so nobody knows which "
            "files a push may replace; delete it there, or push to another repository"
        ) from error
    return {path for path in paths if isinstance(path, str) and (is_shard_name(path) or is_generated_name(path))}
