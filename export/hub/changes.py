"""How a repository comes from its head to what a folder holds. Owns what a push adds, replaces, keeps and deletes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from huggingface_hub import RepoFile

from datasetkit.errors import BuiltFolderError, HubError
from export.dataset_card.pushed import PushedCard, pushed_card
from export.hub.files import LocalFile, is_shard_name
from export.hub.repository import MAIN_BRANCH, HubRepository, RepositoryState
from export.manifest import CARD_NAME, DATA_FOLDER, MANIFEST_NAME, Manifest, is_generated_name


@dataclass(frozen=True, slots=True)
class Changes:
    """What one commit must do.

    Args:
        files: all that the repository is to hold of the folder, the card as it is to be there.
        card: how it was merged.
        additions: those of them that it has not, or has with other bytes.
        deletions: paths of shards and generated files of the push before that the folder does not have.

    """

    files: tuple[LocalFile, ...]
    card: PushedCard
    additions: tuple[LocalFile, ...]
    deletions: tuple[str, ...]

    def differences(self, published: Mapping[str, RepoFile]) -> list[str]:
        """Name the paths at which a commit is not as it should be after the push."""
        wrong = [file.path for file in self.files if not file.equals(published.get(file.path))]
        return wrong + [path for path in self.deletions if path in published]


def find_changes(
    repository: HubRepository, state: RepositoryState, manifest: Manifest, files: Sequence[LocalFile]
) -> Changes:
    """Compare a folder with what the Hub holds.

    Raises:
        HubError: the Hub's card or manifest cannot be read, or files there would mix with the folder's shards.

    """
    (local_card,) = (file for file in files if file.path == CARD_NAME)
    card = _merged_card(repository, state, local_card)
    files = tuple(LocalFile.of_bytes(CARD_NAME, card.text.encode()) if file is local_card else file for file in files)
    wanted = {file.path for file in files}
    former = _former_files(repository, state)
    deletions = tuple(sorted(former & (state.files.keys() - wanted)))
    splits = tuple(f"{DATA_FOLDER}/{split}-" for split in manifest.split_rows)
    others = state.files.keys() - wanted - former
    strange = [path for path in others if path.startswith(splits) and path.endswith(".parquet")]
    if strange:
        raise HubError(
            f"{repository.repo_id} has {min(strange)}, which no push of datasetkit wrote and load_dataset would read "
            "as part of this dataset; rename or delete it there, or push to another repository"
        )
    return Changes(files, card, tuple(file for file in files if not file.equals(state.files.get(file.path))), deletions)


def _merged_card(repository: HubRepository, state: RepositoryState, local: LocalFile) -> PushedCard:
    """Bring together the folder's card and what people wrote into it on the Hub."""
    try:
        is_there = state.head is not None and CARD_NAME in state.files
        published = repository.read_file(CARD_NAME, str(state.head)).decode() if is_there else None
        return pushed_card(local.read().decode(), published, repository.repo_id, repository.url(MAIN_BRANCH))
    except (UnicodeDecodeError, BuiltFolderError) as error:
        raise HubError(f"the {CARD_NAME} of {repository.repo_id} cannot be kept: {error}; mend it there") from error


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
