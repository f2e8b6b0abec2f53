"""Plans and results of pushes. Owns the results of ``datasetkit.export.publish.hub.push``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from datasetkit.core.results import Result
from datasetkit.core.text import counted
from datasetkit.export.card.pushed import PushedCard
from datasetkit.export.publish.files import change_lines, not_published_lines, sum_line
from datasetkit.export.publish.former import Foreign


class _Account(Result):
    card: PushedCard

    def as_json(self) -> dict[str, Any]:
        """Return all fields except the text of the card."""
        values = super().as_json()
        return {**values, "card": {name: value for name, value in values["card"].items() if name != "text"}}


@dataclass(frozen=True, slots=True)
class Plan(_Account):
    """Plan of a push.

    Args:
        sent: path and size in bytes of each file that the repository lacks, or has with other bytes; this includes
            files that an interrupted push left in the storage of the Hub, although they will not be sent again.
        skipped: path and size in bytes of each file that the repository has.
        deletions: paths to delete, all from the manifest of the last push.
        tag: tag for the commit, or None.
        foreign: files that no push wrote: those that would be replaced, and those for which the push is refused.
        not_published: other files of the folder.
        unknown: what cannot be checked without write access.

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
    foreign: Foreign = field(default_factory=Foreign)
    not_published: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def commits(self) -> int:
        """Number of commits: one, or none if nothing changes."""
        return int(bool(self.sent or self.deletions))

    def report(self) -> Iterator[str]:
        """Yield a line per change, and then their sums."""
        if self.creates_repository:
            yield f"create  repository {self.repo_id}"
        if self.creates_branch:
            yield f"create  branch {self.revision}"
        yield from change_lines(self.sent, self.deletions)
        if self.card.is_merged:
            yield "merge   README.md: the card of the folder with the existing one"
        yield from _kept_lines(self.card)
        if self.tag is not None:
            yield f"tag     {self.tag}"
        yield from not_published_lines(self.not_published)
        for text in self.unknown:
            yield f"unknown: {text}"
        yield from self.foreign.lines(is_plan=True)
        sent, skipped = ((len(files), sum(size for _, size in files)) for files in (self.sent, self.skipped))
        how = f" in {counted(self.commits, 'pull request' if self.creates_pr else 'commit')}"
        yield sum_line(sent, len(self.deletions), skipped, is_plan=True, how=how)


@dataclass(frozen=True, slots=True)
class Pushed(_Account):
    """Result of a push.

    Args:
        commit: hash of the commit that contains the folder.
        url: web page of the commit.
        sent_files: number of files sent; with xet storage, parts of them may have been there.
        skipped_files: number of files that the Hub had, or had received from an interrupted push.
        deleted_files: number of deleted files of the last push.
        had_tag: whether the commit had the tag already.
        is_dataset: whether it is a dataset; False for an adapter.
        pull_request: URL of the pull request that proposes the commit; None without one.
        foreign: files that no push wrote and that were replaced, as the user allowed.
        not_published: other files of the folder.

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
    foreign: Foreign = field(default_factory=Foreign)
    not_published: tuple[str, ...] = ()

    def report(self) -> Iterator[str]:
        """Yield what was sent, the commit and its URL."""
        sent, skipped = (self.sent_files, self.sent_bytes), (self.skipped_files, self.skipped_bytes)
        yield sum_line(sent, self.deleted_files, skipped)
        yield from self.foreign.lines(is_plan=False)
        yield from not_published_lines(self.not_published)
        yield from _kept_lines(self.card)
        unmerged = "names its address" if self.is_dataset else "is that of the folder"
        done = "was merged with the existing one" if self.card.is_merged else unmerged
        yield f"commit {self.commit} contains the folder, compared file by file; the card {done}"
        if self.had_tag:
            yield "the commit already had the tag"
        yield self.pull_request or self.url


def _kept_lines(card: PushedCard) -> Iterator[str]:
    """Yield fields of the folder's card that were not used."""
    for name in card.kept:
        yield f"keep    {name} of the card on the Hub; that of the folder differs"
