"""What verification finds. Owns the one line that is printed for it."""

from __future__ import annotations

from dataclasses import dataclass

from datasetkit.core.text import one_line


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a built folder that is not as it should be.

    Args:
        where: file, and row where there is one.
        what: what was found and what should be there.
        is_warning: whether the dataset is sound all the same, and only inconvenient to somebody.

    """

    where: str
    what: str
    is_warning: bool = False

    def __str__(self) -> str:
        """Give the finding as one line."""
        return one_line(f"{'warning: ' if self.is_warning else ''}{self.where}: {self.what}")
