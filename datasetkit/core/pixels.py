"""Conversion of pixels to 8-bit RGB. Owns how transparency and 16 bits appear to models, masks and users."""

from __future__ import annotations

import numpy as np
from PIL import Image

from datasetkit.core.decoding import DAMAGE, quiet
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.repair import png_chunks

_SIXTEEN_BIT = 0xFFFF
_RANGES = {
    8: NoticeKind.RANGE_8_BIT,
    10: NoticeKind.RANGE_10_BIT,
    12: NoticeKind.RANGE_12_BIT,
    14: NoticeKind.RANGE_14_BIT,
    16: NoticeKind.SIXTEEN_BIT_SCALED,
}
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE = 258, 281  # tags of TIFF 6.0


def rgb_pixels(image: Image.Image, name: str) -> Image.Image:
    """Convert an upright image to mode RGB, 8 bit: transparency over white, 16 bits scaled from 0 to 65535.

    Raises:
        UnusableError: ``unsupported_pixels``.

    """
    return to_rgb(image, name, _SIXTEEN_BIT)[0]


def to_rgb(image: Image.Image, name: str, stated: int) -> tuple[Image.Image, NoticeKind | None]:
    """Convert an upright image to mode RGB, 8 bit: transparency over white, 16 bits scaled from their range.

    Cameras and scanners write 10, 12 or 14 bits into 16-bit files, which would look black. The range is the smallest of
    8, 10, 12, 14 and 16 bits that contains ``stated`` and every pixel.

    Args:
        image: image of any mode.
        name: name of the image in errors.
        stated: the highest value of 16-bit pixels that the file states; see :func:`stated_highest`.

    Returns:
        the image, and notices of conversions that other readers may do differently.

    Raises:
        UnusableError: ``unsupported_pixels``.

    """
    if image.mode.startswith("I"):
        return _sixteen_bit_to_rgb(image, name, stated)
    if image.mode in {"F", "La"}:
        raise UnusableError(
            DropReason.UNSUPPORTED_PIXELS, f"{name} has pixels of mode {image.mode}, which cannot be converted to 8 bit"
        )
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if layer.getchannel("A").getextrema() == (255, 255):
            return layer.convert("RGB"), None
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB"), NoticeKind.TRANSPARENCY_OVER_WHITE
    return image if image.mode == "RGB" else image.convert("RGB"), None


def stated_highest(image: Image.Image, data: bytes) -> int:
    """Return the highest value of 16-bit pixels that a file states; 0 if it states none, or has no such pixels.

    Args:
        image: the image as Pillow opened it.
        data: bytes of the file.

    """
    if not image.mode.startswith("I"):
        return 0
    if image.format == "PNG":
        return next((2 ** min(data[start + 8], 16) - 1 for kind, start, _ in png_chunks(data) if kind == b"sBIT"), 0)
    if image.format == "TIFF":
        try:
            tags = image.tag_v2  # type: ignore[attr-defined]
            with quiet():
                bits, highest = int(tags.get(_BITS_PER_SAMPLE, (16,))[0]), int(tags.get(_MAX_SAMPLE_VALUE, (0,))[0])
        except DAMAGE:
            return 0
        return max(2**bits - 1, highest) if bits < 16 else highest
    return _SIXTEEN_BIT  # Pillow scales pixels of other formats from their stated range


def _sixteen_bit_to_rgb(image: Image.Image, name: str, stated: int) -> tuple[Image.Image, NoticeKind]:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > _SIXTEEN_BIT:
        raise UnusableError(
            DropReason.UNSUPPORTED_PIXELS, f"{name} has pixel values beyond 16 bit; convert it to 8 bit"
        )
    highest = min(max(int(values.max()), stated), _SIXTEEN_BIT)
    bits = next(bits for bits in _RANGES if highest < 2**bits)
    top = 2**bits - 1
    grey = (values.astype(np.uint32) * (2 * 255) + top) // (2 * top)
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB"), _RANGES[bits]
