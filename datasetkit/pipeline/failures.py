"""Sources that fail while they are read. Owns the decision to stop a build instead of dropping image after image."""

from __future__ import annotations

from datasetkit.core.errors import SourceFailedError
from datasetkit.core.ledger import DropReason
from datasetkit.core.text import counted
from datasetkit.export.dataset.part import Outcome

_IN_A_ROW = 20
_FIRST, _SHARE = 100, 0.05
# Images dropped for these reasons were never requested, so they say nothing about the source.
_NOT_READ = frozenset({DropReason.DUPLICATE_ID, DropReason.PATH_ESCAPES})


class Failures:
    """Counts failures of the source, in the order of its entries.

    Args:
        most: maximum number of failures in a build; None for the default: fewer than 20 in a row, and at most 5 % of a
            part's entries if it has more than 100.

    Attributes:
        parts: the numbers of the parts that contain the current run of failures.

    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._in_all = self._in_a_row = self._of_part = self._read = 0
        self._index = 0
        self.parts: set[int] = set()

    def begin_part(self, index: int) -> None:
        """Start counting another part."""
        self._index = index
        self._of_part = self._read = 0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome.

        Raises:
            SourceFailedError: the source fails.

        """
        self._read += 1
        if not outcome.is_unreachable:
            if outcome.row is not None or outcome.drops[0].reason not in _NOT_READ:
                self._in_a_row = 0
                self.parts.clear()
            return
        self._in_all += 1
        self._in_a_row += 1
        self._of_part += 1
        self.parts.add(self._index)
        last = f"the last: {outcome.drops[0].detail}"
        if self._most is not None:
            if self._in_all >= self._most:
                raise SourceFailedError(f"{counted(self._in_all, 'image')} could not be read, {last}")
        elif self._in_a_row >= _IN_A_ROW:
            raise SourceFailedError(f"{self._in_a_row} images in a row could not be read, {last}")
        elif self._read > _FIRST and self._of_part > _SHARE * self._read:
            raise SourceFailedError(f"{self._of_part} of {self._read} images could not be read, {last}")
