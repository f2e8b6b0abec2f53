"""Real encoded images for tests, made with Pillow: every odd format, orientation and kind of damage."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112


def noise(size_hw: tuple[int, int] = (24, 31), seed: int = 0) -> NDArray[np.uint8]:
    """Return smooth noise of shape (H, W, 3), uint8: all orientations differ, and lossy formats preserve it well."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size_hw[::-1], Image.Resampling.BICUBIC))


def encode(
    given: Image.Image | NDArray[Any], image_format: str, *, orientation: int | None = None, **how: Any
) -> bytes:
    image = given.copy() if isinstance(given, Image.Image) else Image.fromarray(given)
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        how = how | {"exif": exif}
    if "append_images" in how:  # Pillow leaves the options of one format in an image and trips over them in the next
        how = how | {"append_images": [other.copy() for other in how["append_images"]]}
    buffer = io.BytesIO()
    image.save(buffer, image_format, **how)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size but contains only one empty row."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(100))) + png_chunk(b"IEND", b"")


def samples() -> dict[str, bytes]:
    """Return one valid file of each supported kind."""
    rgb = Image.fromarray(noise())
    deep = np.linspace(0, 0xFFFF, 24 * 31).reshape(24, 31).astype(np.uint16)
    others = [rgb.rotate(90), rgb.rotate(180)]
    return {
        "jpeg": encode(rgb, "JPEG"),
        "jpeg progressive, turned": encode(rgb, "JPEG", progressive=True, orientation=6),
        "jpeg cmyk": encode(rgb.convert("CMYK"), "JPEG"),
        "jpeg of several images": encode(rgb, "MPO", save_all=True, append_images=others),
        "png": encode(rgb, "PNG"),
        "png turned": encode(rgb, "PNG", orientation=8),
        "png palette, transparent": encode(rgb.quantize(8), "PNG", transparency=1),
        "png 16 bit": encode(deep, "PNG"),
        "png animated": encode(rgb, "PNG", save_all=True, append_images=others),
        "gif": encode(rgb, "GIF"),
        "gif animated": encode(rgb, "GIF", save_all=True, append_images=others, disposal=2),
        "tiff": encode(rgb, "TIFF", orientation=6),
        "tiff deflate": encode(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "tiff of several pages": encode(rgb, "TIFF", save_all=True, append_images=others),
        "tiff lab": encode(rgb.convert("LAB"), "TIFF"),
        "tiff float": encode(rgb.convert("F"), "TIFF"),
        "tiff 32 bit": encode(rgb.convert("I"), "TIFF"),
        "webp": encode(rgb, "WEBP", orientation=6),
        "webp animated": encode(rgb, "WEBP", save_all=True, append_images=others),
        "bmp": encode(rgb, "BMP"),
        "ppm": encode(rgb, "PPM"),
        "jpeg 2000": encode(rgb, "JPEG2000"),
    }
