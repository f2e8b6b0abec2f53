"""What a push would do and what it did. Owns the results that callers of ``datasetkit.export.publish.hub.push`` get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from datasetkit.core.results import Result
from datasetkit.core.text import counted
from datasetkit.export.dataset.card.pushed import PushedCard
from datasetkit.export.publish.files import change_lines, not_published_lines, sum_line
from datasetkit.export.publish.former import Foreign


class _Account(Result):
    card: PushedCard

    def as_json(self) -> dict[str, Any]:
        """Return all of it but the card's text."""
        values = super().as_json()
        return {**values, "card": {name: value for name, value in values["card"].items() if name != "text"}}


@dataclass(frozen=True, slots=True)
class Plan(_Account):
    """What a push would do.

    Args:
        sent: path and size in bytes of each file that the repository has not, or has with other bytes; what a push
            that was cut short left in the Hub's storage is among them, but will not be sent again.
        skipped: path and size in bytes of each file that it has.
        deletions: paths that are deleted; all of them come from the manifest of the push before.
        tag: that is made for the commit, or None.
        foreign: files there that no push wrote: those that would be replaced, and those that the push is refused for.
        not_published: other files of the folder.
        unknown: what cannot be known without asking as somebody who may write.

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
        """How many commits would be made: one, or none where nothing changes."""
        return int(bool(self.sent or self.deletions))

    def report(self) -> Iterator[str]:
        """Yield a line per change, then their sum."""
        if self.creates_repository:
            yield f"make    repository {self.repo_id}"
        if self.creates_branch:
            yield f"make    branch {self.revision}"
        yield from change_lines(self.sent, self.deletions)
        if self.card.is_merged:
            yield "merge   README.md: the folder's card joins the one that is there"
        yield from _kept_lines(self.card)
        if self.tag is not None:
            yield f"tag     {self.tag}"
        yield from not_published_lines(self.not_published)
        for text in self.unknown:
            yield f"not known: {text}"
        yield from self.foreign.lines(is_plan=True)
        sent, skipped = ((len(files), sum(size for _, size in files)) for files in (self.sent, self.skipped))
        how = f" in {counted(self.commits, 'pull request' if self.creates_pr else 'commit')}"
        yield sum_line(sent, len(self.deletions), skipped, is_plan=True, how=how)


@dataclass(frozen=True, slots=True)
class Pushed(_Account):
    """What a push did.

    Args:
        commit: hash of the commit that holds the folder.
        url: its page for people.
        sent_files: files whose bytes went out; with xet storage, parts of them may have been there.
        skipped_files: files that the Hub held, or had received from a push that was cut short.
        deleted_files: files of the push before that are gone.
        had_tag: whether the commit had the tag already.
        is_dataset: whether it is a dataset; False for an adapter.
        pull_request: address of the pull request that proposes the commit; None where none was opened.
        foreign: files that no push wrote and that were replaced, as a person allowed.
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
        """Yield what was sent, the commit and its address."""
        sent, skipped = (self.sent_files, self.sent_bytes), (self.skipped_files, self.skipped_bytes)
        yield sum_line(sent, self.deleted_files, skipped)
        yield from self.foreign.lines(is_plan=False)
        yield from not_published_lines(self.not_published)
        yield from _kept_lines(self.card)
        unmerged = "names its address" if self.is_dataset else "is the folder's"
        done = "is merged with the one that was there" if self.card.is_merged else unmerged
        yield f"commit {self.commit} holds the folder, compared file by file; the card {done}"
        if self.had_tag:
            yield "the tag was there already, at this commit"
        yield self.pull_request or self.url


def _kept_lines(card: PushedCard) -> Iterator[str]:
    """Name what of the folder's card does not arrive."""
    for name in card.kept:
        yield f"keep    {name} of the card on the Hub; the folder's is another"
