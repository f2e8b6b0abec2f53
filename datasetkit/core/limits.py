"""Limits for images and compressed files, checked before they are read."""

from __future__ import annotations

from dataclasses import dataclass

# Pillow itself refuses larger images, whatever limit is given here.
MOST_PIXELS = 178_956_970
# For gzip-compressed text: more than the largest annotation files of public datasets have.
MOST_UNPACKED_BYTES = 2**33


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits of an image, checked before it is decoded.

    Args:
        max_bytes: largest size of the encoded file, bytes.
        max_pixels: largest product of width and height, px.

    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 89_478_485
