"""Pictures as models can take them. Owns what is done to those that no processor is made for."""

from __future__ import annotations

from PIL import Image

_ASPECT_MAX = 64


def thickened(image: Image.Image) -> Image.Image:
    """Stretch a picture as thin as a thread, whose short side processors would round to no pixel.

    Boxes in shares of the frame stay what they are.
    """
    width, height = image.size
    least = -(-max(width, height) // _ASPECT_MAX)
    return image if min(width, height) >= least else image.resize((max(width, least), max(height, least)))
