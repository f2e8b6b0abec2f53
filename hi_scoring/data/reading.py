"""Rows read one by one, damaged or not. Owns which errors are damage of one row rather than errors of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from PIL import Image

from datasetkit.core.decoding import DAMAGE
from datasetkit.core.errors import RecordError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.rows import image_of
from datasetkit.hi_scoring.data.samples import Sample, sample_of


class Rows(Protocol):
    """A dataset with a length, whose rows and their names can be read by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...

    def name(self, index: int, /) -> str:
        """Return the id of a row, whether or not it can be read."""


def read_row(rows: Rows, row: int) -> Mapping[str, Any]:
    """Read one row.

    Raises:
        UnusableError: it cannot be read.

    """
    try:
        return rows[row]
    except DAMAGE as error:
        raise UnusableError(DropReason.UNREADABLE, f"the row cannot be read: {error}") from error


def read_sample(rows: Rows, row: int) -> Sample:
    """Read one row as a sample.

    Raises:
        UnusableError: it cannot be read, or is not a sample.

    """
    found = read_row(rows, row)
    try:
        return sample_of(found, rows.name(row))
    except UnusableError:
        raise
    except DAMAGE as error:
        raise UnusableError(DropReason.BAD_ROW, f"{type(error).__name__}: {error}") from error


def read_image(rows: Rows, row: int) -> Image.Image:
    """Read one row's image, upright, mode RGB.

    Raises:
        UnusableError: it cannot be read.

    """
    found = read_row(rows, row)
    try:
        return image_of(found["image"])
    except UnusableError:
        raise
    except (KeyError, RecordError) as error:
        raise UnusableError(DropReason.BAD_ROW, f"no image in the column image: {error}") from error
    except DAMAGE as error:
        raise UnusableError(DropReason.UNREADABLE, f"{type(error).__name__}: {error}") from error
