"""Changes from the head of a repository to a folder. Owns what a push adds, replaces, keeps and deletes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from huggingface_hub import RepoFile

from datasetkit.core.errors import BuiltFolderError, HubError
from datasetkit.export.card.pushed import PushedCard, pushed_card
from datasetkit.export.dataset.manifest import CARD_NAME, is_shard_name
from datasetkit.export.publish.files import LocalFile
from datasetkit.export.publish.former import Foreign, check_replace
from datasetkit.export.publish.hub.contents import Contents
from datasetkit.export.publish.hub.repository import MAIN_BRANCH, HubRepository, RepositoryState


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of one commit.

    Args:
        files: all files of the folder in the repository, with the merged card.
        card: how the card was merged.
        additions: files that are missing in the repository, or have other bytes there.
        deletions: paths of files of the last push that the folder does not have.
        foreign: files among the additions that replace files which no push wrote.

    """

    files: tuple[LocalFile, ...]
    card: PushedCard
    additions: tuple[LocalFile, ...]
    deletions: tuple[str, ...]
    foreign: Foreign

    def differences(self, published: Mapping[str, RepoFile]) -> list[str]:
        """Return the paths at which a commit differs from the intended one."""
        wrong = [file.path for file in self.files if not file.equals(published.get(file.path))]
        return wrong + [path for path in self.deletions if path in published]


def find_changes(
    repository: HubRepository,
    state: RepositoryState,
    contents: Contents,
    files: Sequence[LocalFile],
    replace: Sequence[str] = (),
) -> Changes:
    """Compare the files of a folder, including its card, with those on the Hub.

    ``replace`` are paths of files that may be replaced, whoever wrote them; a card among them is not merged.

    Raises:
        HubError: the card on the Hub cannot be read, or the contents refuse other files there.
        OutputError: ``replace`` does not name a file of the folder.

    """
    check_replace(replace, {file.path for file in files})
    published = _published_card(repository, state, is_replaced=CARD_NAME in replace)
    files, card = _with_card(repository, files, None if CARD_NAME in replace else published)
    former = contents.former_files(repository, state, published)

    def is_ours(path: str) -> bool:
        if path == CARD_NAME:  # nothing in it is lost if it is merged
            return CARD_NAME not in replace
        digits = former.get(path)
        if path not in former or digits is None:
            return path in former
        return _sha256(repository, state, path).startswith(digits)

    additions = tuple(file for file in files if not file.equals(state.files.get(file.path)))
    foreign = Foreign.among((file.path for file in additions if file.path in state.files), is_ours, replace)
    wanted = {file.path for file in files}
    deletions = [path for path in former.keys() & (state.files.keys() - wanted) if is_ours(path)]
    contents.check_others(state.files.keys() - wanted - set(deletions), repository.repo_id)
    return Changes(files, card, additions, tuple(sorted(deletions)), foreign)


def _published_card(repository: HubRepository, state: RepositoryState, *, is_replaced: bool) -> str | None:
    """Read the card on the Hub; None if there is none, or if it cannot be read but may be replaced."""
    if state.head is None or CARD_NAME not in state.files:
        return None
    data = repository.read_file(CARD_NAME, state.head, state.files[CARD_NAME])
    return data.decode(errors="replace") if is_replaced else _decoded(data, repository.repo_id)


def _decoded(data: bytes, repo_id: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(repo_id, error) from error


def _with_card(
    repository: HubRepository, files: Sequence[LocalFile], published: str | None
) -> tuple[tuple[LocalFile, ...], PushedCard]:
    """Replace the card of the folder by the merged one."""
    (local,) = (file for file in files if file.path == CARD_NAME)
    digests = {file.path: file.sha256 for file in files if file is not local and not is_shard_name(file.path)}
    address = repository.url(MAIN_BRANCH)
    try:
        card = pushed_card(local.read().decode(), published, repository.repo_id, address, digests)
    except BuiltFolderError as error:
        raise _unreadable(repository.repo_id, error) from error
    merged = LocalFile.of_bytes(CARD_NAME, card.text.encode())
    return tuple(merged if file is local else file for file in files), card


def _unreadable(repo_id: str, error: Exception) -> HubError:
    return HubError(
        f"the {CARD_NAME} of {repo_id} cannot be kept: {error}; fix it there, or give --replace {CARD_NAME}"
    )


def _sha256(repository: HubRepository, state: RepositoryState, path: str) -> str:
    """Return the digest of a file on the Hub, downloading the file if the Hub does not know its digest."""
    file = state.files[path]
    if file.lfs is not None:
        return file.lfs.sha256
    return hashlib.sha256(repository.read_file(path, str(state.head), file)).hexdigest()
