"""Rendering of a scene to an image. Owns colours and shading; masks come from the raster module, by equal distances."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasetkit.toyworld.backgrounds import background_field
from datasetkit.toyworld.raster import distance_window
from datasetkit.toyworld.scenes import Colour, Scene, SceneObject
from datasetkit.toyworld.shapes import FloatArray

PALETTE: dict[Colour, tuple[int, int, int]] = {
    Colour.RED: (214, 40, 44),
    Colour.GREEN: (52, 158, 62),
    Colour.BLUE: (32, 104, 232),
    Colour.YELLOW: (250, 214, 42),
    Colour.PURPLE: (136, 44, 170),
    Colour.ORANGE: (244, 128, 22),
    Colour.CYAN: (40, 198, 214),
    Colour.PINK: (246, 138, 186),
}

# Lengths on a 128 px canvas; they scale with it.
_BORDER_PX = 1.4
_SHADOW_OFFSET_PX = 1.6
_SHADOW_BLUR_PX = 3.5
_SHADOW_STRENGTH = 0.28
_BORDER_DARKNESS = 0.30
_SHADE_STRENGTH = 0.07
_LIGHT_FROM_ABOVE = 0.08
_PNG_COMPRESSION = 3  # Noise hardly compresses: half the time of level 6 for ten percent more bytes.


def render(scene: Scene) -> NDArray[np.uint8]:
    """Draw a scene: shape (H, W, 3), RGB, dtype uint8."""
    height, width = scene.config.canvas_hw
    field = background_field(scene.background, (height, width)) * scene.background.contrast
    canvas = field[:, :, None] + np.array(scene.background.tone, dtype=np.float32)
    for item in scene.objects:
        _draw(canvas, item, scene.config.scale)
    if scene.noise_std:
        noise = np.random.default_rng(scene.seed).standard_normal(canvas.shape, dtype=np.float32)
        canvas += np.float32(scene.noise_std) * noise
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image, shape (H, W, 3), RGB, uint8, as PNG; equal pixels yield equal bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=_PNG_COMPRESSION)
    return file.getvalue()


def _draw(canvas: FloatArray, item: SceneObject, scale: float) -> None:
    """Draw one object with its shadow over what is already on the canvas (H, W, 3), in place."""
    offset, blur = max(1, round(_SHADOW_OFFSET_PX * scale)), _SHADOW_BLUR_PX * scale
    window, distances = distance_window(item, (canvas.shape[0], canvas.shape[1]), offset + blur)
    canvas_part = canvas[window]
    # The shadow is the object shifted by whole pixels, so that one distance field serves both.
    shadow = np.clip(0.5 - distances[:-offset, :-offset] / blur, 0, 1)
    canvas_part[offset:, offset:] *= 1 - _SHADOW_STRENGTH * shadow[:, :, None]

    alpha = np.clip(0.5 - distances, 0, 1)[:, :, None]
    border = np.clip(0.5 + distances + _BORDER_PX * scale, 0, 1)
    from_centre = (np.arange(window[0].start, window[0].stop, dtype=np.float32) + 0.5 - item.y) / item.extent
    light = 1 + _SHADE_STRENGTH * item.shade - _LIGHT_FROM_ABOVE * from_centre
    brightness = light[:, None] * (1 - _BORDER_DARKNESS * border)
    fill = np.array(PALETTE[item.colour], dtype=np.float32) * brightness[:, :, None]
    canvas_part += alpha * (np.minimum(fill, 255) - canvas_part)
