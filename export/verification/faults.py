"""Findings of verification. Owns the line per fault, and the list of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datasetkit.core.results import Result
from datasetkit.core.text import counted, one_line


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in a built folder, with its file and row.

    A dataset with warnings only is sound, but inconvenient for some users.
    """

    where: str
    what: str
    is_warning: bool = False

    def __str__(self) -> str:
        """Return the finding as one line."""
        return one_line(f"{'warning: ' if self.is_warning else ''}{self.where}: {self.what}")


@dataclass(frozen=True, slots=True)
class Verification(Result):
    """All findings in a dataset, in the order of its files, warnings included."""

    dataset: str
    faults: tuple[Fault, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there are no faults, except warnings."""
        return all(fault.is_warning for fault in self.faults)

    def report(self) -> Iterator[str]:
        """Yield one line per fault, and then the verdict."""
        yield from map(str, self.faults)
        count = sum(not fault.is_warning for fault in self.faults)
        yield f"{counted(count, 'fault')} in {self.dataset}" if count else f"{self.dataset} is sound"

    def as_json(self) -> dict[str, Any]:
        """Return the verdict and all faults."""
        return {"is_sound": self.is_sound, **Result.as_json(self)}
