"""What a push would do and what it did. Owns the results that callers of ``datasetkit.export.publish.hub.push`` get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from datasetkit.core.results import Result
from datasetkit.core.text import counted
from datasetkit.export.dataset.card.pushed import PushedCard
from datasetkit.export.publish.files import change_lines, files_of


@dataclass(frozen=True, slots=True)
class Plan(Result):
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
        creates_pr: whether the commit is proposed as a pull request.

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
    creates_pr: bool = False

    @property
    def commits(self) -> int:
        """How many commits would be made: one, or none where nothing changes."""
        return int(bool(self.sent or self.deletions))

    def report(self) -> Iterator[str]:
        """Yield a line per change, then their sum."""
        if self.creates_repository:
            yield f"make    repository {self.repo_id}"
        if self.creates_branch:
            yield f"make    branch {self.revision}"
        yield from change_lines(self.sent, self.deletions)
        yield from _kept_lines(self.card)
        if self.tag is not None:
            yield f"tag     {self.tag}"
        sent, skipped = sum(size for _, size in self.sent), sum(size for _, size in self.skipped)
        yield (
            f"would send {files_of(len(self.sent), sent)} and delete {counted(len(self.deletions), 'file')} in "
            f"{counted(self.commits, 'pull request' if self.creates_pr else 'commit')}; "
            f"{files_of(len(self.skipped), skipped)} {'is' if len(self.skipped) == 1 else 'are'} there already. "
            "Nothing was sent"
        )

    def as_json(self) -> dict[str, Any]:
        """Return what would change, files with their bytes."""
        return {
            "is_plan": True,
            "repository": self.repo_id,
            "revision": self.revision,
            "creates_repository": self.creates_repository,
            "creates_branch": self.creates_branch,
            "creates_pr": self.creates_pr,
            "sent": dict(self.sent),
            "skipped": dict(self.skipped),
            "deleted": list(self.deletions),
            "kept_of_card": list(self.card.kept),
            "tag": self.tag,
        }


@dataclass(frozen=True, slots=True)
class Pushed(Result):
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
        is_dataset: whether it is a dataset; False for an adapter.
        pull_request: address of the pull request that proposes the commit; None where none was opened.

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
    is_dataset: bool = True
    pull_request: str | None = None

    def report(self) -> Iterator[str]:
        """Yield what was sent, the commit and its address."""
        yield (
            f"sent {files_of(self.sent_files, self.sent_bytes)}, deleted {counted(self.deleted_files, 'file')}; "
            f"{files_of(self.skipped_files, self.skipped_bytes)} "
            f"{'was' if self.skipped_files == 1 else 'were'} there already"
        )
        yield from _kept_lines(self.card)
        unmerged = "names its address" if self.is_dataset else "is the folder's"
        done = "is merged with the one that was there" if self.card.is_merged else unmerged
        yield f"commit {self.commit} holds the folder, compared file by file; the card {done}"
        if self.had_tag:
            yield "the tag was there already, at this commit"
        yield self.pull_request or self.url

    def as_json(self) -> dict[str, Any]:
        """Return what was done; of the card, which parts the Hub's own replaced."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "card"}
        return {"is_plan": False, **values, "kept_of_card": list(self.card.kept)}


def _kept_lines(card: PushedCard) -> Iterator[str]:
    """Name what of the folder's card does not arrive."""
    for name in card.kept:
        yield f"keep    {name} of the card on the Hub; the folder's is another"
