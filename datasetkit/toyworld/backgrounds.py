"""Background patterns. Owns what each kind looks like: a field over the canvas, without the image's tone.

Matrix products and sines are computed in float64 and rounded: processors use different instructions for them, whose
float32 results differ, and a scene must have the same bytes on all processors.
"""

from __future__ import annotations

import math

import numpy as np

from datasetkit.toyworld.scenes import Background, BackgroundKind
from datasetkit.toyworld.shapes import FloatArray

_CLOUD_CELLS = 6


def background_field(background: Background, canvas_hw: tuple[int, int]) -> FloatArray:
    """Return the pattern over the canvas, shape (H, W), dtype float32, range [-0.5, 0.5]."""
    along, across = _turned(background, canvas_hw)
    match background.kind:
        case BackgroundKind.FLAT:
            return np.zeros(canvas_hw, dtype=np.float32)
        case BackgroundKind.GRADIENT:
            return (along - along.min()) / (along.max() - along.min()) - 0.5
        case BackgroundKind.CLOUDS:
            return _clouds(background, canvas_hw)
        case BackgroundKind.STRIPES:
            return _steps(_sine(2 * math.pi * along), background.period / 4)
        case BackgroundKind.CHECKER:
            return _steps(_sine(math.pi * along) * _sine(math.pi * across), background.period / 2)
        case BackgroundKind.DOTS:
            from_dot = np.hypot(along - np.round(along), across - np.round(across))
            return _steps(0.24 - from_dot, background.period / 1.5)
        case BackgroundKind.GRID:
            from_line = np.minimum(np.abs(along - np.round(along)), np.abs(across - np.round(across)))
            return _steps(0.06 - from_line, background.period / 1.5)
        case BackgroundKind.WAVES:
            return 0.5 * _sine(2 * math.pi * (along + 0.25 * _sine(2 * math.pi * across / 1.7)))


def _turned(background: Background, canvas_hw: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Return coordinates along and across the pattern's direction, in periods, each of shape (H, W)."""
    height, width = canvas_hw
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / background.period
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / background.period
    cos, sin = math.cos(background.angle), math.sin(background.angle)
    return x * cos + y * sin, y * cos - x * sin


def _steps(wave: FloatArray, sharpness: float) -> FloatArray:
    """Turn a wave of range [-1, 1] into steps with soft edges, range [-0.5, 0.5]."""
    return np.clip(wave * sharpness, -0.5, 0.5)


def _clouds(background: Background, canvas_hw: tuple[int, int]) -> FloatArray:
    """Return random values on a coarse lattice, smoothly interpolated."""
    values = (
        np.random.default_rng(background.seed)
        .random((_CLOUD_CELLS + 1, _CLOUD_CELLS + 1), dtype=np.float32)
        .astype(np.float64)
    )
    rows, columns = (_interpolation(side) for side in canvas_hw)
    return (rows @ values @ columns.T).astype(np.float32) - np.float32(0.5)


def _interpolation(side: int) -> FloatArray:
    """Return the weights of each lattice line at each pixel, shape (side, cells + 1)."""
    place = (np.arange(side, dtype=np.float32) + 0.5) / side * _CLOUD_CELLS
    cell = place.astype(int)
    fraction = place - cell
    smooth = fraction * fraction * (3 - 2 * fraction)
    weights = np.zeros((side, _CLOUD_CELLS + 1))
    weights[np.arange(side), cell] = 1 - smooth
    weights[np.arange(side), cell + 1] = smooth
    return weights


def _sine(angles: FloatArray) -> FloatArray:
    return np.sin(angles.astype(np.float64)).astype(np.float32)
