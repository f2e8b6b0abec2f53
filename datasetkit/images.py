"""The one image loader. Owns limits before decoding, EXIF orientation and the conversion to RGB.

Bytes are kept as they came; only a picture that EXIF turns is encoded again, upright, so that every reader sees the
pixels on which the masks were made.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from datasetkit.errors import UnusableError
from datasetkit.ledger import DropReason, NoticeKind
from datasetkit.record import EncodedImage

_EXIF_ORIENTATION = 0x0112
_LOSSY = {"JPEG": ".jpg", "WEBP": ".webp"}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a picture may cost before it is decoded.

    Args:
        max_bytes: size of the encoded file.
        max_pixels: width times height.

    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 89_478_485


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
            ``unsupported_pixels``.

    """
    if not data:
        raise UnusableError(DropReason.EMPTY, f"{name} has no bytes")
    if len(data) > limits.max_bytes:
        raise UnusableError(DropReason.TOO_MANY_BYTES, f"{name} has {len(data):,} bytes; at most {limits.max_bytes:,}")
    image = _open(data, name, limits)
    notices = []
    if getattr(image, "n_frames", 1) > 1:
        notices.append(NoticeKind.ANIMATION_FIRST_FRAME)
        image.seek(0)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UnusableError(DropReason.TRUNCATED, f"{name} cannot be decoded to its end: {error}") from error
    raw_size_hw = (image.height, image.width)
    orientation = _orientation(image)
    upright = ImageOps.exif_transpose(image) if orientation != 1 else image
    if orientation != 1:
        notices.append(NoticeKind.EXIF_ROTATED)
        data, name = _encode_upright(upright, image.format, name)
    pixels, conversions = _to_rgb(upright, name)
    encoded = EncodedImage(data, PurePosixPath(name).name, pixels.width, pixels.height)
    return LoadedImage(encoded, pixels, orientation, raw_size_hw, (*notices, *conversions))


def rgb_array(data: bytes, limits: ImageLimits = ImageLimits()) -> NDArray[np.uint8]:
    """Decode one picture into shape (H, W, 3), uint8, RGB, upright.

    Raises:
        UnusableError: as :func:`load_image`.

    """
    return np.asarray(load_image(data, "picture", limits).pixels)


def _open(data: bytes, name: str, limits: ImageLimits) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise UnusableError(DropReason.TOO_MANY_PIXELS, f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise UnusableError(DropReason.NOT_AN_IMAGE, f"{name} is in no picture format that can be read") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UnusableError(DropReason.TRUNCATED, f"{name} breaks off in its header: {error}") from error
    if image.width * image.height > limits.max_pixels:
        raise UnusableError(
            DropReason.TOO_MANY_PIXELS,
            f"{name} has {image.width}x{image.height} pixels; at most {limits.max_pixels:,} are allowed",
        )
    return image


def _orientation(image: Image.Image) -> int:
    value: Any = image.getexif().get(_EXIF_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _encode_upright(image: Image.Image, image_format: str | None, name: str) -> tuple[bytes, str]:
    """Encode a turned picture: lossy formats at high quality in their own format, all others as PNG."""
    buffer = io.BytesIO()
    suffix = _LOSSY.get(image_format or "", ".png")
    options: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
    if suffix == ".png":
        image.save(buffer, "PNG", **options)
    elif suffix == ".jpg":
        image.save(buffer, "JPEG", quality=95, subsampling=0, **options)
    else:
        image.save(buffer, "WEBP", quality=95, **options)
    return buffer.getvalue(), str(PurePosixPath(name).with_suffix(suffix))


def _to_rgb(image: Image.Image, name: str) -> tuple[Image.Image, tuple[NoticeKind, ...]]:
    if image.mode == "RGB":
        return image, ()
    if image.mode.startswith("I"):
        return _sixteen_bit_to_rgb(image, name), (NoticeKind.SIXTEEN_BIT_SCALED,)
    if image.mode == "F":
        raise UnusableError(
            DropReason.UNSUPPORTED_PIXELS,
            f"{name} has floating point pixels without a stated range; convert it to 8 bit",
        )
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB"), (NoticeKind.TRANSPARENCY_OVER_WHITE,)
    return image.convert("RGB"), ()


def _sixteen_bit_to_rgb(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise UnusableError(
            DropReason.UNSUPPORTED_PIXELS, f"{name} has pixel values beyond 16 bit; convert it to 8 bit"
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
