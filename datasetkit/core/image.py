"""The one image loader. Owns limits before decoding, EXIF orientation and the conversion to RGB.

Bytes are kept as they came; only a picture that EXIF turns is encoded again, upright, so that every reader sees the
pixels on which the masks were made.
"""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from datasetkit.core.errors import UnusableError, is_out_of_memory
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.limits import ImageLimits
from datasetkit.core.record import EncodedImage

_EXIF_ORIENTATION = 0x0112
_ASPECT_MAX = 64
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
_LOSSY = {"JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp"}
_PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})
# What Pillow's readers raise on damaged files.
_DAMAGE = (
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
class LoadedImage:
    """A decoded picture.

    Args:
        encoded: the picture to publish.
        pixels: mode RGB, 8 bit, upright.
        orientation: the EXIF orientation (1 to 8) that the file came with; 1 stands upright.
        raw_size_hw: height and width as stored, before the turn, px.
        notices: what was done to the picture.

    """

    encoded: EncodedImage
    pixels: Image.Image
    orientation: int
    raw_size_hw: tuple[int, int]
    notices: tuple[NoticeKind, ...]


def load_image(data: bytes, name: str, limits: ImageLimits = ImageLimits()) -> LoadedImage:
    """Decode one picture.

    Args:
        data: the file's bytes.
        name: its file name; a folder in front is left out.
        limits: checked before any pixel is decoded.

    Raises:
        UnusableError: ``empty``, ``too_many_bytes``, ``too_many_pixels``, ``not_an_image``, ``truncated`` or
            ``unsupported_pixels``; ``out_of_memory``, which may pass later.

    """
    name = _file_name(name)
    try:
        return _load(data, name, limits)
    except MemoryError as error:
        raise UnusableError(DropReason.OUT_OF_MEMORY, f"memory ran out while {name} was decoded") from error


def _load(data: bytes, name: str, limits: ImageLimits) -> LoadedImage:
    if not data:
        raise UnusableError(DropReason.EMPTY, f"{name} has no bytes")
    if len(data) > limits.max_bytes:
        raise UnusableError(DropReason.TOO_MANY_BYTES, f"{name} has {len(data):,} bytes; at most {limits.max_bytes:,}")
    image, is_animated = _open(data, name, limits)
    upright, orientation = _decode_upright(image, name)
    pixels, conversions = _to_rgb(upright, name)
    notices = [NoticeKind.ANIMATION_FIRST_FRAME] if is_animated else []
    if orientation != 1:
        notices.append(NoticeKind.EXIF_REMOVED if orientation is None else NoticeKind.EXIF_ROTATED)
        data, name = _encode_upright(upright, pixels, image.format, name)
    on_its_side = orientation is not None and orientation > 4
    return LoadedImage(
        encoded=EncodedImage(data, name, pixels.width, pixels.height),
        pixels=pixels,
        orientation=orientation or 1,
        raw_size_hw=(pixels.width, pixels.height) if on_its_side else (pixels.height, pixels.width),
        notices=(*notices, *conversions),
    )


def _file_name(name: str) -> str:
    """Give the last component of a name, so spelled that every system and every text file can hold it."""
    last = PurePosixPath(name).name.replace("\\", "_") or "picture"
    return last.encode("utf-8", "backslashreplace").decode("utf-8").replace("\\", "_")


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _open(data: bytes, name: str, limits: ImageLimits) -> tuple[Image.Image, bool]:
    """Read a picture's header; give it with whether it is an animation. No pixel is decoded."""
    try:
        with _quiet():
            image = Image.open(io.BytesIO(data), formats=_formats())
            is_animated = image.format != "MPO" and getattr(image, "n_frames", 1) > 1
    except Image.DecompressionBombError as error:
        raise UnusableError(DropReason.TOO_MANY_PIXELS, f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise UnusableError(DropReason.NOT_AN_IMAGE, f"{name} is in no picture format that can be read") from error
    except _DAMAGE as error:
        raise UnusableError(DropReason.TRUNCATED, f"{name} breaks off in its header: {error}") from error
    if image.width * image.height > limits.max_pixels:
        raise UnusableError(
            DropReason.TOO_MANY_PIXELS,
            f"{name} has {image.width}x{image.height} pixels; at most {limits.max_pixels:,} are allowed",
        )
    return image, is_animated


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings of large and damaged pictures, which are drops here.

    Warning filters belong to the whole process, hence the lock; only headers are read under it.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decode_upright(image: Image.Image, name: str) -> tuple[Image.Image, int | None]:
    """Decode; give the upright picture and the orientation it was stored in, None where its EXIF cannot be read."""
    # Pillow turns a TIFF while it decodes it, and forgets that it did.
    turned = _orientation(image) if image.format == "TIFF" else None
    try:
        image.load()
    except _DAMAGE as error:
        if is_out_of_memory(error):  # Pillow's decoders have it as an OSError
            raise MemoryError from error
        raise UnusableError(DropReason.TRUNCATED, f"{name} cannot be decoded to its end: {error}") from error
    if image.format == "TIFF":
        return image, turned
    orientation = _orientation(image)
    return (image.transpose(_TURNS[orientation]) if orientation in _TURNS else image), orientation


def _orientation(image: Image.Image) -> int | None:
    try:
        with _quiet():
            value: Any = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DAMAGE:
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _encode_upright(image: Image.Image, pixels: Image.Image, image_format: str | None, name: str) -> tuple[bytes, str]:
    """Encode a turned picture: lossy formats at high quality in their own format, all others as PNG."""
    buffer = io.BytesIO()
    suffix = _LOSSY.get(image_format or "", ".png")
    options: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
    if suffix == ".png" and image.mode in _PNG_MODES:
        image.save(buffer, "PNG", **options)
    elif suffix == ".png":
        pixels.save(buffer, "PNG")
    elif suffix == ".jpg":
        image.save(buffer, "JPEG", quality=95, subsampling=0, **options)
    else:
        image.save(buffer, "WEBP", quality=95, **options)
    return buffer.getvalue(), str(PurePosixPath(name).with_suffix(suffix))


def rgb_pixels(image: Image.Image, name: str) -> Image.Image:
    """Bring an upright picture to mode RGB, 8 bit, as :func:`load_image` does: transparency lies over white.

    Raises:
        UnusableError: ``unsupported_pixels``.

    """
    return _to_rgb(image, name)[0]


def _to_rgb(image: Image.Image, name: str) -> tuple[Image.Image, tuple[NoticeKind, ...]]:
    if image.mode.startswith("I"):
        return _sixteen_bit_to_rgb(image, name), (NoticeKind.SIXTEEN_BIT_SCALED,)
    if image.mode in {"F", "La"}:
        raise UnusableError(
            DropReason.UNSUPPORTED_PIXELS, f"{name} has pixels of mode {image.mode}, which have no one meaning as 8 bit"
        )
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB"), (NoticeKind.TRANSPARENCY_OVER_WHITE,)
    return image if image.mode == "RGB" else image.convert("RGB"), ()


def _sixteen_bit_to_rgb(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise UnusableError(
            DropReason.UNSUPPORTED_PIXELS, f"{name} has pixel values beyond 16 bit; convert it to 8 bit"
        )
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")


def thickened(image: Image.Image) -> Image.Image:
    """Stretch a picture as thin as a thread, whose short side processors would round to no pixel.

    Boxes in shares of the frame stay what they are.
    """
    width, height = image.size
    least = -(-max(width, height) // _ASPECT_MAX)
    return image if min(width, height) >= least else image.resize((max(width, least), max(height, least)))
