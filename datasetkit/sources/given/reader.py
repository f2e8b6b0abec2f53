"""The protocol of readers of formats. Owns what a reader is given and what it has to return."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from datasetkit.core.given import GivenImage
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import PassedOverCounts
from datasetkit.core.paths import Place
from datasetkit.sources.given.look import Look

# What broken data raise; it makes an entry unusable, and no other.
BROKEN = (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Given:
    """What a reader reads from.

    Args:
        place: the file or folder that the user named.
        captions: a further file with the descriptions, or None.
        encoding: of text files; None for UTF-8, or as their byte-order marks say.
        passed_over: counts what the reader leaves unread.

    """

    place: Place
    captions: Place | None
    encoding: str | None
    passed_over: PassedOverCounts


class Index(Protocol):
    """A file whose entries are found by position.

    Attributes:
        path: the file.
        sha256: hex digest of its bytes, as UTF-8.

    """

    path: Place
    sha256: str


class Reader(Protocol):
    """Reads one format. It is created from a :class:`Given`; a broken file as a whole is a ``SourceError``.

    Attributes:
        summary: one line about the format, for ``datasetkit formats``.
        takes_captions: whether it reads a further file with descriptions.
        indexes: the files that all entries depend on.

    """

    summary: ClassVar[str]
    takes_captions: ClassVar[bool] = False
    indexes: Sequence[Index]

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the content of a place is of this format."""
        ...

    def handles(self) -> Iterator[Hashable]:
        """Yield what :meth:`read` needs for each entry, small and in a fixed order."""
        ...

    def read(self, handle: Any) -> GivenImage:
        """Parse one entry; safe to call from several threads. What is broken may raise any of ``BROKEN``.

        Raises:
            UnusableError: the entry cannot be used, with a reason of its own.

        """
        ...

    def fingerprint(self) -> str:
        """Return a hex digest of all that the entries are parsed from."""
        return hashlib.sha256("".join(index.sha256 for index in self.indexes).encode()).hexdigest()

    def label_map(self) -> LabelMap:
        """Return the categories of the data set; none unless overridden."""
        return ()
