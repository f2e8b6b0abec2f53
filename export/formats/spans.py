"""Consecutive images of a split: what one task of an export converts. Owns their reading, and the work of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from datasetkit.core.record import Record
from datasetkit.export.dataset.reading import iter_records, naming_row
from datasetkit.export.formats.images import ImageRecords, Row, file_name, image_suffix, known_suffix
from datasetkit.runtime.engines.protocol import Do, Seat, Tell

# Converts images; can be pickled, and returns something small.
Convert = Callable[[Iterator[ImageRecords]], Any]


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive images of a split.

    Args:
        index: number among the spans of the split, from 0.
        first: number of its first image in the split, from 0.
        sizes: number of records of each image.
        rows: paths of shards, with the numbers of the rows that belong to the images.

    """

    index: int
    first: int
    sizes: tuple[int, ...]
    rows: tuple[tuple[Path, range], ...]

    def __str__(self) -> str:
        return ", ".join(f"{path} rows {rows.start} to {rows.stop - 1}" for path, rows in self.rows)

    def images(self, tell: Tell) -> Iterator[ImageRecords]:
        """Read the images, and report the number of records that were used so far.

        Raises:
            BuiltFolderError: a row cannot be read, or is not a valid record.

        """
        records = self._records()
        done = 0
        for number, size in enumerate(self.sizes, self.first):
            yield ImageRecords(number, tuple(islice(records, size)))
            done += size
            tell(done)

    def _records(self) -> Iterator[Record]:
        for path, rows in self.rows:
            for where, record in iter_records(path, rows):
                with naming_row(where):
                    image_suffix(record.image)  # of every image, before a format names it
                yield record


class Plan:
    """A span, and what is known of its images before they are read.

    Attributes:
        span: the span.
        images: the rows of each image, with the columns of its key.

    """

    def __init__(self, span: Span, images: tuple[tuple[Row, ...], ...]) -> None:
        self.span = span
        self.images = images

    def name(self, index: int) -> str:
        """Return the name of an image, the same as ``ImageRecords.name``; ``index`` is its number in the span."""
        name = self.images[index][0]["image"]["path"]
        return file_name(self.span.first + index, name, known_suffix(name) or self._suffixes[index])

    @cached_property
    def _suffixes(self) -> tuple[str, ...]:
        """The extensions of all images; their bytes are read, as some names have none."""
        return tuple(image_suffix(image.image) for image in self.span.images(lambda _: None))


class ConversionWork:
    """The work of an export: each task is a span, and what converts it."""

    def start(self, seat: Seat) -> tuple[None, Do]:  # noqa: ARG002 - the same everywhere
        """Return the function that takes a span and a :data:`Convert`, and returns what the latter returns."""
        return None, self._do

    def _do(self, task: tuple[Span, Convert], tell: Tell) -> Any:
        span, convert = task
        return convert(span.images(tell))
