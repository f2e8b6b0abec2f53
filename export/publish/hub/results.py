"""What a push would do and what it did. Owns the results that callers of ``datasetkit.export.publish.hub.push`` get."""

from __future__ import annotations

from dataclasses import dataclass

from datasetkit.export.dataset.card.pushed import PushedCard


@dataclass(frozen=True, slots=True)
class Plan:
    """What a push would do.

    Args:
        repo_id: ``user/name``.
        revision: the branch.
        creates_repository: whether the repository is made.
        creates_branch: whether the branch is made.
        sent: path and size in bytes of each file that the repository has not, or has with other bytes; what a push
            that was cut short left in the Hub's storage is among them, but will not be sent again.
        skipped: path and size in bytes of each file that it has.
        deletions: paths that are deleted; all of them come from the manifest of the push before.
        card: what becomes of the card.
        tag: that is made for the commit, or None.

    """

    repo_id: str
    revision: str
    creates_repository: bool
    creates_branch: bool
    sent: tuple[tuple[str, int], ...]
    skipped: tuple[tuple[str, int], ...]
    deletions: tuple[str, ...]
    card: PushedCard
    tag: str | None

    @property
    def commits(self) -> int:
        """How many commits would be made: one, or none where nothing changes."""
        return int(bool(self.sent or self.deletions))


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did.

    Args:
        commit: hash of the commit that holds the folder.
        url: its page for people.
        sent_files: files whose bytes went out; with xet storage, parts of them may have been there.
        sent_bytes: their size.
        skipped_files: files that the Hub held, or had received from a push that was cut short.
        skipped_bytes: their size.
        deleted_files: files of the push before that are gone.
        card: what became of the card.
        had_tag: whether the commit had the tag already.

    """

    commit: str
    url: str
    sent_files: int
    sent_bytes: int
    skipped_files: int
    skipped_bytes: int
    deleted_files: int
    card: PushedCard
    had_tag: bool
