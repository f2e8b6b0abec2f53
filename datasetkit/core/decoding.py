"""Decoding of images with Pillow. Owns limits before decoding, the formats that are read, and EXIF orientation."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, UnidentifiedImageError

from datasetkit.core.errors import UnusableError, is_out_of_memory
from datasetkit.core.ledger import DropReason
from datasetkit.core.limits import ImageLimits

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Photographs and drawings. Pillow reads more, but some of its readers run other programs (EPS) or trust their input.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# What Pillow's readers raise on damaged files.
DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    struct.error,
    Image.DecompressionBombError,
)
_warnings_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image.

    Args:
        image: the image as Pillow opened it.
        upright: the pixels in the file's mode, rotated upright by EXIF.
        orientation: the stored EXIF orientation (1 to 8); None if the EXIF data cannot be read.
        is_animated: whether there are more frames.

    """

    image: Image.Image
    upright: Image.Image
    orientation: int | None
    is_animated: bool


def decode(data: bytes, name: str, limits: ImageLimits) -> Decoded:
    """Decode an image; of several frames, the first one.

    Args:
        data: bytes of the file.
        name: name of the image in errors.
        limits: checked before any pixel is decoded.

    Raises:
        UnusableError: ``empty``, ``too_many_bytes``, ``too_many_pixels``, ``not_an_image`` or ``truncated``.
        MemoryError: memory ran out.

    """
    if not data:
        raise UnusableError(DropReason.EMPTY, f"{name} has no bytes")
    if len(data) > limits.max_bytes:
        raise UnusableError(DropReason.TOO_MANY_BYTES, f"{name} has {len(data):,} bytes; at most {limits.max_bytes:,}")
    image, is_animated = _open(data, name, limits)
    upright, orientation = _decode_upright(image, name)
    return Decoded(image, upright, orientation, is_animated)


def decode_as_readers(data: bytes) -> Image.Image | None:
    """Decode an image as users of the dataset do, by ``Image.open(...).convert("RGB")``; None where that fails."""
    try:
        image = open_quietly(data)
        # Pillow reads headers of further TIFF pages while decoding, and may warn about them.
        with quiet() if image.format == "TIFF" else contextlib.nullcontext():
            image.load()
        # Colours marked as transparent change no pixel here, but Pillow may warn about them.
        image.info.pop("transparency", None)
        return image.convert("RGB")
    except DAMAGE as error:
        if is_out_of_memory(error):  # Pillow's decoders raise it as an OSError
            raise MemoryError from error
        return None


def is_read_as(data: bytes, pixels: Image.Image) -> bool:
    """Return whether users of the dataset decode these pixels (mode RGB); see :func:`decode_as_readers`."""
    read = decode_as_readers(data)
    return read is not None and read.size == pixels.size and ImageChops.difference(read, pixels).getbbox() is None


def open_quietly(data: bytes) -> Image.Image:
    """Read the header without Pillow's warnings about large and damaged images, which are dropped here."""
    with quiet():
        return Image.open(io.BytesIO(data), formats=_formats())


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _open(data: bytes, name: str, limits: ImageLimits) -> tuple[Image.Image, bool]:
    """Read the header of an image; return the image and whether it is animated. No pixel is decoded."""
    try:
        with quiet():
            image = Image.open(io.BytesIO(data), formats=_formats())
            is_animated = image.format != "MPO" and getattr(image, "n_frames", 1) > 1
    except Image.DecompressionBombError as error:
        raise UnusableError(DropReason.TOO_MANY_PIXELS, f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise UnusableError(DropReason.NOT_AN_IMAGE, f"{name} is not in a supported image format") from error
    except DAMAGE as error:
        raise UnusableError(DropReason.TRUNCATED, f"{name} ends within its header: {error}") from error
    if image.width * image.height > limits.max_pixels:
        raise UnusableError(
            DropReason.TOO_MANY_PIXELS,
            f"{name} has {image.width}x{image.height} pixels; at most {limits.max_pixels:,} are allowed",
        )
    return image, is_animated


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings, under a lock, as warning filters are global to the process; only headers are read under it."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decode_upright(image: Image.Image, name: str) -> tuple[Image.Image, int | None]:
    """Return the decoded upright image and its stored orientation, None if its EXIF data cannot be read."""
    # Pillow rotates a TIFF while decoding it, and drops the orientation tag.
    turned = _orientation(image) if image.format == "TIFF" else None
    try:
        image.load()
    except DAMAGE as error:
        if is_out_of_memory(error):  # Pillow's decoders raise it as an OSError
            raise MemoryError from error
        raise UnusableError(DropReason.TRUNCATED, f"{name} cannot be decoded completely: {error}") from error
    if image.format == "TIFF":
        return image, turned
    orientation = _orientation(image)
    return (image.transpose(_TURNS[orientation]) if orientation in _TURNS else image), orientation


def _orientation(image: Image.Image) -> int | None:
    try:
        with quiet():
            value: Any = image.getexif().get(_EXIF_ORIENTATION, 1)
    except DAMAGE:
        return None
    # As other readers do: the tag may be a fraction or a float instead of an integer.
    return next((turn for turn in range(1, 9) if value == turn), 1)
