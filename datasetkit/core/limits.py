"""What an image, or a packed file, may cost before it is read. Owns the limits."""

from __future__ import annotations

from dataclasses import dataclass

# Pillow itself refuses everything larger, whatever limit is given here.
MOST_PIXELS = 178_956_970
# Of a text that gzip packed: more than the largest annotation files of public datasets have.
MOST_UNPACKED_BYTES = 2**33


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may cost before it is decoded.

    Args:
        max_bytes: size of the encoded file.
        max_pixels: width times height.

    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 89_478_485
