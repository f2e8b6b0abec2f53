"""How a repository comes from its head to what a folder holds. Owns what a push adds, replaces, keeps and deletes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from huggingface_hub import RepoFile

from datasetkit.core.errors import BuiltFolderError, HubError
from datasetkit.export.dataset.card.pushed import PushedCard, pushed_card
from datasetkit.export.dataset.manifest import CARD_NAME
from datasetkit.export.publish.files import LocalFile
from datasetkit.export.publish.hub.contents import Contents
from datasetkit.export.publish.hub.repository import MAIN_BRANCH, HubRepository, RepositoryState


@dataclass(frozen=True, slots=True)
class Changes:
    """What one commit must do.

    Args:
        files: all that the repository is to hold of the folder, the card as it is to be there.
        card: how it was merged.
        additions: those of them that it has not, or has with other bytes.
        deletions: paths of files of the push before that the folder does not have.

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
    repository: HubRepository, state: RepositoryState, contents: Contents, files: Sequence[LocalFile]
) -> Changes:
    """Compare a folder's files, a card among them, with what the Hub holds.

    Raises:
        HubError: the Hub's card cannot be read, or what the contents know against the other files there.

    """
    (local_card,) = (file for file in files if file.path == CARD_NAME)
    is_there = state.head is not None and CARD_NAME in state.files
    try:
        published = repository.read_file(CARD_NAME, str(state.head)).decode() if is_there else None
        card = pushed_card(local_card.read().decode(), published, repository.repo_id, repository.url(MAIN_BRANCH))
    except (UnicodeDecodeError, BuiltFolderError) as error:
        raise HubError(f"the {CARD_NAME} of {repository.repo_id} cannot be kept: {error}; mend it there") from error
    files = tuple(LocalFile.of_bytes(CARD_NAME, card.text.encode()) if file is local_card else file for file in files)
    deletions = contents.find_deletions(repository, state, {file.path for file in files})
    return Changes(files, card, tuple(file for file in files if not file.equals(state.files.get(file.path))), deletions)
