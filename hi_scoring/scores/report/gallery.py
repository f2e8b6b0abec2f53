"""Images of head attention on samples, next to their key objects. Owns how both are drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from datasetkit.hi_scoring.data.samples import Sample
from datasetkit.hi_scoring.geometry import ImageTokens
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.scores.scorer import FloatArray, LookedAt

_SIDE_PX = 168
_HEAT = 0.62


@dataclass(frozen=True)
class Panel:
    """One sample as PNG images, below the model's response: its key objects, then the attention of each head."""

    record_id: str
    text: str
    objects: bytes
    heads: tuple[tuple[Head, bytes], ...]


def panel(looked: LookedAt, heads: Sequence[Head]) -> Panel:
    """Draw one sample; each head's attention is scaled to its maximum."""
    image = looked.sample.image
    scale = _SIDE_PX / max(image.size)
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    drawn = [(head, _png(_heated(small, looked.geometry, looked.attention[head]))) for head in heads]
    return Panel(looked.sample.record_id, looked.text, _png(_outlined(small, looked.sample)), tuple(drawn))


def _outlined(small: Image.Image, sample: Sample) -> Image.Image:
    """Return the image with everything dimmed except key objects."""
    union = Image.fromarray(sample.masks.any(0).astype(np.uint8) * 255).resize(small.size)
    inside = np.asarray(union)[..., None] > 127
    pixels = np.asarray(small, dtype=np.float64)
    grey = pixels.mean(-1, keepdims=True) * 0.35 + 150
    return Image.fromarray(np.where(inside, pixels, grey).clip(0, 255).astype(np.uint8))


def _heated(small: Image.Image, geometry: ImageTokens, attention: FloatArray) -> Image.Image:
    """Return the image overlaid with the attention of the finest view, or of other views where it shows nothing."""
    heat = np.zeros((small.height, small.width))
    for view in sorted(geometry.views, key=lambda view: view.tokens.size):
        rows = _showing(view.top_bottom, geometry.size_hw[0], small.height)
        columns = _showing(view.left_right, geometry.size_hw[1], small.width)
        shown = (rows >= 0)[:, None] & (columns >= 0)
        heat = np.where(shown, attention[view.tokens[np.ix_(rows, columns)]], heat)
    top = max(float(attention[view.tokens].max()) for view in geometry.views)
    colours = colormaps["inferno"](heat / max(top, float(np.finfo(np.float32).tiny)))[..., :3] * 255
    pixels = np.asarray(small.convert("L").convert("RGB"), dtype=np.float64)
    return Image.fromarray((pixels * (1 - _HEAT) + colours * _HEAT).clip(0, 255).astype(np.uint8))


def _showing(spans: NDArray[np.float64], length_px: int, drawn_px: int) -> NDArray[np.intp]:
    """Return the span that contains the centre of each drawn pixel, -1 = none.

    Args:
        spans: rows or columns of tokens, in px of the image, in order; shape (count, 2).
        length_px: length of the image.
        drawn_px: length of the drawn image.

    """
    middles = (np.arange(drawn_px) + 0.5) * length_px / drawn_px
    last = np.searchsorted(spans[:, 0], middles, side="right") - 1
    return np.where(middles < spans[last, 1], last, -1)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
