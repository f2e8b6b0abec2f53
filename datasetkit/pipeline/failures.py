"""Sources that fail while they are read. Owns the decision to stop a build instead of dropping image after image."""

from __future__ import annotations

from dataclasses import dataclass

from datasetkit.core.errors import SourceFailedError
from datasetkit.core.ledger import DropReason
from datasetkit.core.text import counted
from datasetkit.export.output.part import Outcome

_IN_A_ROW = 20
_FIRST, _SHARE = 100, 0.05
# Images dropped for these reasons were never requested, so they say nothing about the source.
_NOT_READ = frozenset({DropReason.DUPLICATE_ID, DropReason.PATH_ESCAPES, DropReason.WORKER_DIED})


@dataclass(frozen=True, slots=True)
class PartFailures:
    """Failures of the source in one part.

    Args:
        count: images that could not be read because the source failed.
        leading: how many of them came before the first other one.
        trailing: how many of them came after the last other one.
        has_others: whether there was an other one.
        last: what the last failure was; empty without one.

    """

    count: int = 0
    leading: int = 0
    trailing: int = 0
    has_others: bool = False
    last: str = ""

    def with_outcome(self, outcome: Outcome) -> PartFailures:
        """Count one more outcome, in the order of the entries."""
        if outcome.is_unreachable:
            leading = self.leading + (not self.has_others)
            return PartFailures(self.count + 1, leading, self.trailing + 1, self.has_others, outcome.drops[0].detail)
        if outcome.row is None and outcome.drops[0].reason in _NOT_READ:
            return self
        return PartFailures(self.count, self.leading, 0, True, self.last)


def check_part(failures: PartFailures, read: int, most: int | None) -> None:
    """Stop within a part.

    Args:
        failures: what failed in it so far.
        read: number of its entries so far.
        most: maximum number of failures in a build; None for the default: fewer than 20 in a row, and at most 5 % of a
            part's entries if it has more than 100.

    Raises:
        SourceFailedError: the source fails.

    """
    if not failures.trailing:
        return
    if most is None and read > _FIRST and failures.count > _SHARE * read:
        raise SourceFailedError(f"{failures.count} of {read} images could not be read, the last: {failures.last}")
    _check(failures.count, failures.trailing, failures.last, most)


def _check(count: int, in_a_row: int, last: str, most: int | None) -> None:
    if most is not None and count >= most:
        raise SourceFailedError(f"{counted(count, 'image')} could not be read, the last: {last}")
    if most is None and in_a_row >= _IN_A_ROW:
        raise SourceFailedError(f"{in_a_row} images in a row could not be read, the last: {last}")


class Failures:
    """Failures of all parts that were built in one run, in whatever order they were finished.

    Args:
        most: see :func:`check_part`.

    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._found: dict[int, PartFailures] = {}

    @property
    def parts(self) -> list[int]:
        """The numbers of the parts in which the source failed."""
        return [index for index, found in self._found.items() if found.count]

    def add(self, index: int, found: PartFailures) -> None:
        """Count a part.

        Raises:
            SourceFailedError: the source fails, though not within one part.

        """
        self._found[index] = found
        if found.count:
            _check(sum(one.count for one in self._found.values()), self._run_through(index), found.last, self.most)

    def _run_through(self, index: int) -> int:
        """Return the longest run of failures that begins, ends or lies in a part, its neighbours included."""
        found = self._found[index]
        before = self._run(index, -1)
        after = self._run(index, 1)
        if not found.has_others:
            return before + found.count + after
        return max(before + found.leading, found.trailing + after)

    def _run(self, index: int, step: int) -> int:
        """Count the failures next to a part: those that end before it, or begin after it."""
        length = 0
        while (one := self._found.get(index := index + step)) is not None:
            length += one.trailing if step < 0 else one.leading
            if one.has_others:
                break
        return length
