"""What verification finds. Owns the one line per fault, and the account of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datasetkit.core.results import Result
from datasetkit.core.text import counted, one_line


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a built folder, at a file and its row, that is not as it should be.

    With a warning the dataset is sound all the same, and only inconvenient to somebody.
    """

    where: str
    what: str
    is_warning: bool = False

    def __str__(self) -> str:
        """Give the finding as one line."""
        return one_line(f"{'warning: ' if self.is_warning else ''}{self.where}: {self.what}")


@dataclass(frozen=True, slots=True)
class Verification(Result):
    """All that verification found in a dataset, in the order of its files; warnings among it."""

    dataset: str
    faults: tuple[Fault, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there are warnings at most."""
        return all(fault.is_warning for fault in self.faults)

    def report(self) -> Iterator[str]:
        """Yield one line per fault, then the verdict."""
        yield from map(str, self.faults)
        count = sum(not fault.is_warning for fault in self.faults)
        yield f"{counted(count, 'fault')} in {self.dataset}" if count else f"{self.dataset} is sound"

    def as_json(self) -> dict[str, Any]:
        """Return the verdict and all faults."""
        return {"is_sound": self.is_sound, **Result.as_json(self)}
