"""Small data sets of known formats, and how they are read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Reading, Source
from datasetkit.options.sources import FromOptions
from datasetkit.sources.given.detection import find_format
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.source import open_given

SIZE_WH = (40, 30)


def image_bytes(size_wh: tuple[int, int] = SIZE_WH, color: int = 90) -> bytes:
    """Return a PNG file of one colour."""
    return png_bytes(np.full((size_wh[1], size_wh[0], 3), color, np.uint8))


def png_bytes(array: np.ndarray, palette: bool = False) -> bytes:
    """Return a PNG file of these values; indices of a palette if it has one."""
    image = Image.fromarray(array)
    if palette:
        image.putpalette([value for index in range(256) for value in (index, 255 - index, 0)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write(path: Path, data: bytes | str) -> Path:
    """Write a file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def source_of(place: Path, **options: Any) -> Source:
    """Return the source of a place, whose format is found from the content."""
    return open_given(FromOptions(place=place, **options))


def format_of(place: Path) -> str:
    """Return the format that a place is recognised as."""
    return find_format(Look(place))


def readings_of(place: Path, **options: Any) -> Iterator[Reading | UnusableError]:
    """Yield what each entry becomes, or why it is dropped."""
    source = source_of(place, **options)
    for entry in source.entries():
        try:
            yield source.read(entry)
        except UnusableError as error:
            yield error


def one_reading(place: Path, **options: Any) -> Reading:
    """Return the only record of a place."""
    (found,) = readings_of(place, **options)
    if isinstance(found, UnusableError):
        raise found
    return found


def boxes_of(reading: Reading) -> list[tuple[float, ...]]:
    """Return the box of each object: that around its mask, or its own."""
    return [tuple(item.box_xywh or ()) for item in reading.record.objects]
