"""What came of an export. Owns the account of what the other format had no place for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from datasetkit.core.results import Result
from datasetkit.export.formats.built import BuiltDataset

RENAMED = (
    "images whose file has another name than in the source: it was encoded again, another image has that name, or not "
    "every system can hold it"
)


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that the format cannot hold.

    Args:
        name: constant, lower case.
        count: never 0.
        meaning: what they are and what became of them.

    """

    name: str
    count: int
    meaning: str


@dataclass(frozen=True, slots=True)
class ExportResult(Result):
    """How many records were read, and what was written.

    Args:
        losses: what was left out or changed.
        mean_iou: mean intersection over union of the written outlines, filled again, with the masks; None for formats
            that hold the masks themselves, and where there was no object.

    """

    records: int
    pictures: int
    objects: int
    losses: tuple[Loss, ...] = ()
    mean_iou: float | None = None
    destination: str | None = None

    def report(self) -> Iterator[str]:
        """Yield counts, losses and where it is."""
        yield f"records      {self.records:,}"
        yield f"images       {self.pictures:,}"
        yield f"objects      {self.objects:,}"
        yield from (f"lost         {loss.count:,} {loss.meaning}" for loss in self.losses)
        if self.mean_iou is not None:
            yield f"mean IoU     {self.mean_iou:.6f} (polygons, filled again, with the masks)"
        yield f"wrote        {self.destination}"


class Format(Protocol):
    """Writes a dataset in one format. Equal datasets give equal bytes."""

    def __call__(self, dataset: BuiltDataset, target: Path) -> ExportResult:
        """Write into ``target``, an empty folder."""


def losses(counts: Mapping[str, int], meanings: Mapping[str, str]) -> tuple[Loss, ...]:
    """Give the losses that occurred, in the order of their meanings."""
    return tuple(Loss(name, counts[name], meaning) for name, meaning in meanings.items() if counts.get(name))
