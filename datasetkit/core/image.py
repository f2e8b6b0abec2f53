"""The only image loader. Owns which pixels are used, and which bytes are published, so that users see these pixels.

Bytes are kept unchanged if ``Image.open(...).convert("RGB")`` decodes them to the pixels that were used. An image that
EXIF rotates, or that users would decode to other pixels, is encoded again.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image, PngImagePlugin

from datasetkit.core.decoding import Decoded, decode, is_read_as, open_quietly
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.limits import ImageLimits
from datasetkit.core.pixels import rgb_pixels, stated_highest, to_rgb
from datasetkit.core.record import EncodedImage
from datasetkit.core.repair import repaired

_ASPECT_MAX = 64


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A decoded image.

    Args:
        encoded: the image to publish; users decode ``pixels`` from it.
        pixels: the upright image, mode RGB, 8 bit.
        orientation: EXIF orientation (1 to 8) of the original file; 1 is upright.
        raw_size_hw: height and width as stored, before rotation, px.
        notices: what was done to the image.

    """

    encoded: EncodedImage
    pixels: Image.Image
    orientation: int
    raw_size_hw: tuple[int, int]
    notices: tuple[NoticeKind, ...]


def load_image(data: bytes, name: str, limits: ImageLimits = ImageLimits()) -> LoadedImage:
    """Decode an image for publication.

    Args:
        data: bytes of the file.
        name: file name; folders are left out.
        limits: checked before any pixel is decoded.

    Raises:
        UnusableError: ``empty``, ``too_many_bytes``, ``too_many_pixels``, ``not_an_image``, ``truncated`` or
            ``unsupported_pixels``; ``out_of_memory``, which a later attempt may not hit.

    """
    name = _file_name(name)
    with _out_of_memory_is_a_drop(name):
        data, decoded, notices = _decode(data, name, limits)
        pixels, conversion = to_rgb(decoded.upright, name, stated_highest(decoded.image, data))
        if decoded.is_animated:
            notices.append(NoticeKind.ANIMATION_FIRST_FRAME)
        if decoded.orientation != 1:
            notices.append(NoticeKind.EXIF_REMOVED if decoded.orientation is None else NoticeKind.EXIF_ROTATED)
            data, name, pixels = _encode_upright(decoded, pixels, name)
        elif _is_read_otherwise(data, decoded, pixels, conversion):
            notices.append(NoticeKind.REENCODED)
            data, name = _encode_png(decoded, pixels, name)
        else:
            conversion = None
        if len(data) > limits.max_bytes:
            raise UnusableError(
                DropReason.TOO_MANY_BYTES,
                f"{name} has {len(data):,} bytes after it is encoded again; at most {limits.max_bytes:,}",
            )
    on_its_side = decoded.orientation is not None and decoded.orientation > 4
    return LoadedImage(
        encoded=EncodedImage(data, name, pixels.width, pixels.height),
        pixels=pixels,
        orientation=decoded.orientation or 1,
        raw_size_hw=(pixels.width, pixels.height) if on_its_side else (pixels.height, pixels.width),
        notices=tuple(notices) if conversion is None else (*notices, conversion),
    )


def published_pixels(data: bytes, name: str, limits: ImageLimits = ImageLimits()) -> Image.Image:
    """Decode a published image to the pixels that its build used: upright, mode RGB, 8 bit.

    Versions before 0.4 published alpha channels and 16-bit pixels unchanged; they scaled 16-bit pixels from 0 to 65535,
    whatever their range.

    Raises:
        UnusableError: see :func:`load_image`.

    """
    name = _file_name(name)
    with _out_of_memory_is_a_drop(name):
        return rgb_pixels(_decode(data, name, limits)[1].upright, name)


@contextlib.contextmanager
def _out_of_memory_is_a_drop(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise UnusableError(DropReason.OUT_OF_MEMORY, f"memory ran out while {name} was decoded") from error


def _decode(data: bytes, name: str, limits: ImageLimits) -> tuple[bytes, Decoded, list[NoticeKind]]:
    """Decode; return the bytes that were decoded (of the repaired file, if it needed repair), and what was done."""
    try:
        return data, decode(data, name, limits), []
    except UnusableError as error:
        fixed = repaired(data) if error.reason is DropReason.TRUNCATED else None
        if fixed is None:
            raise
    return fixed[0], decode(fixed[0], name, limits), [fixed[1]]


def _file_name(name: str) -> str:
    """Return the last part of a path, in characters that every system and every text file can represent."""
    last = PurePosixPath(name).name.replace("\\", "_") or "picture"
    return last.encode("utf-8", "backslashreplace").decode("utf-8").replace("\\", "_")


def _is_read_otherwise(data: bytes, decoded: Decoded, pixels: Image.Image, conversion: NoticeKind | None) -> bool:
    """Return whether users would decode other pixels; only modes for which that is possible are decoded again.

    This is always so for 16 bits: ``convert("RGB")`` clips them, and arrays of them have 16 bits.
    """
    if decoded.upright.mode.startswith("I"):
        return True
    return (conversion is not None or decoded.is_animated) and not is_read_as(data, pixels)


def _encode_upright(decoded: Decoded, pixels: Image.Image, name: str) -> tuple[bytes, str, Image.Image]:
    """Encode a rotated image: a JPEG as JPEG of high quality, whose pixels are then used, and all others as PNG."""
    if decoded.image.format not in {"JPEG", "MPO"}:
        return *_encode_png(decoded, pixels, name), pixels
    buffer = io.BytesIO()
    profile = decoded.image.info.get("icc_profile")
    decoded.upright.save(buffer, "JPEG", quality=95, subsampling=0, icc_profile=profile)
    data = buffer.getvalue()
    return data, str(PurePosixPath(name).with_suffix(".jpg")), open_quietly(data).convert("RGB")


def _encode_png(decoded: Decoded, pixels: Image.Image, name: str) -> tuple[bytes, str]:
    """Encode pixels (mode RGB) as PNG, with the colour profile of the file if it is one for RGB."""
    profile = decoded.image.info.get("icc_profile") or b""
    is_kept = profile[16:20] == b"RGB " and len(profile) < PngImagePlugin.MAX_TEXT_CHUNK
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG", icc_profile=profile if is_kept else None)
    return buffer.getvalue(), str(PurePosixPath(name).with_suffix(".png"))


def thickened(image: Image.Image) -> Image.Image:
    """Stretch an extremely thin image, whose short side processors would round to zero pixels.

    Boxes relative to the image size stay valid.
    """
    width, height = image.size
    least = -(-max(width, height) // _ASPECT_MAX)
    return image if min(width, height) >= least else image.resize((max(width, least), max(height, least)))
