"""Samples for tests: a bright square on grey, and a text that names it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from datasetkit.core.mask import Mask
from datasetkit.hi_scoring.data.samples import Mention, Sample

TEXT = "a red square above a blue circle"
SPANS = ((0, 12), (19, 32))


def sample(
    number: int = 0,
    *,
    size_hw: tuple[int, int] = (84, 84),
    text: str = TEXT,
    boxes: tuple[tuple[int, int, int, int], ...] | None = None,
) -> Sample:
    """Return a sample with one square per box (x0, y0, x1, y1) on grey, each named by a phrase; noise by number."""
    generator = np.random.default_rng(number)
    boxes = _boxes(generator, size_hw) if boxes is None else boxes
    pixels = generator.integers(100, 130, (*size_hw, 3)).astype(np.uint8)
    masks = []
    for place, (left, top, right, bottom) in enumerate(boxes):
        mask = np.zeros(size_hw, bool)
        mask[top:bottom, left:right] = True
        pixels[mask] = (255, 40 * place, 0)
        masks.append(Mask.from_array(mask))
    mentions = tuple(Mention(span, (place,)) for place, span in enumerate(SPANS[: len(masks)]))
    return Sample(f"sample-{number}", Image.fromarray(pixels), text, tuple(masks), mentions)


def _boxes(generator: np.random.Generator, size_hw: tuple[int, int]) -> tuple[tuple[int, int, int, int], ...]:
    """One square in the left half, one in the right half."""
    height, width = size_hw
    side = min(size_hw) // 3
    lefts = (int(generator.integers(0, width // 2 - side)), int(generator.integers(width // 2, width - side)))
    tops = generator.integers(0, height - side, 2)
    return tuple((left, int(top), left + side, int(top) + side) for left, top in zip(lefts, tops, strict=True))
