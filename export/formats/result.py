"""Result of an export. Owns the account of what the format could not represent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from datasetkit.core.results import Result
from datasetkit.export.formats.built import BuiltDataset

RENAMED = (
    "images whose file has another name than in the source: re-encoded, the name of another image, or not valid on "
    "every system"
)


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that the format cannot represent.

    Args:
        name: constant, lower case.
        count: number of items, at least 1.
        meaning: what they are and how they were treated.

    """

    name: str
    count: int
    meaning: str


@dataclass(frozen=True, slots=True)
class ExportResult(Result):
    """Numbers of records read and of items written.

    Args:
        losses: what was left out or changed.
        mean_iou: mean intersection over union of masks and filled outlines; None for formats that store masks, and
            without objects.

    """

    records: int
    pictures: int
    objects: int
    losses: tuple[Loss, ...] = ()
    mean_iou: float | None = None
    destination: str | None = None

    def report(self) -> Iterator[str]:
        """Yield counts, losses and the destination."""
        yield f"records      {self.records:,}"
        yield f"images       {self.pictures:,}"
        yield f"objects      {self.objects:,}"
        yield from (f"lost         {loss.count:,} {loss.meaning}" for loss in self.losses)
        if self.mean_iou is not None:
            yield f"mean IoU     {self.mean_iou:.6f} (of filled polygons and masks)"
        yield f"wrote        {self.destination}"


class Format(Protocol):
    """Writes a dataset in one format. Equal datasets give equal bytes, with any number of workers."""

    def __call__(self, dataset: BuiltDataset, target: Path) -> ExportResult:
        """Write into ``target``, an empty folder, while the dataset has workers."""


def losses(counts: Mapping[str, int], meanings: Mapping[str, str]) -> tuple[Loss, ...]:
    """Return the losses that occurred, in the order of their meanings."""
    return tuple(Loss(name, counts[name], meaning) for name, meaning in meanings.items() if counts.get(name))
