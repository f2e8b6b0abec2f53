"""Images of head attention: each drawn pixel has the colour of the token that shows it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datasetkit.hi_scoring.data.samples import Sample
from datasetkit.hi_scoring.geometry import ImageTokens, Tower, View
from datasetkit.hi_scoring.scores.report.gallery import panel
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.scores.scorer import LookedAt
from tests.hi_scoring.images import sample

HEAD = Head(1, 2)


def heat(one: Sample, geometry: ImageTokens, attention: NDArray[np.float32]) -> NDArray[np.float64]:
    """Brightness of the drawn pixels, shape (rows, columns), about 0 to 1."""
    [(head, png)] = panel(LookedAt(one, one.text, geometry, {HEAD: attention}), [HEAD]).heads
    assert head == HEAD
    return np.asarray(Image.open(io.BytesIO(png))).mean(-1) / 255


def grid(size_hw: tuple[int, int], *, first: int = 0, side: int = 24) -> View:
    tokens = first + np.arange(side**2).reshape(side, side)
    return Tower(tokens.shape, 1, tokens.shape).squash("global", tokens, size_hw)


@pytest.mark.parametrize("size_hw", [(100, 1000), (1000, 100), (100, 100), (333, 500)])
def test_tokens_narrower_than_a_pixel_are_drawn(size_hw: tuple[int, int]) -> None:
    geometry = ImageTokens(size_hw, 24**2, (grid(size_hw),))
    attention = np.zeros((24, 24), np.float32)
    attention[12:, 12:] = 1
    drawn = heat(sample(size_hw=size_hw), geometry, attention.ravel())
    half_y, half_x = drawn.shape[0] // 2 + 1, drawn.shape[1] // 2 + 1
    assert drawn[half_y:, half_x:].min() > 0.6
    assert drawn[: half_y - 2].max(initial=0) < 0.5
    assert drawn[:, : half_x - 2].max() < 0.5


def test_token_without_pixels_dims_no_others() -> None:
    size_hw = (84, 84)
    one = sample(size_hw=size_hw)
    attention = np.full(24**2 + 1, 0.01, np.float32)
    alone = heat(one, ImageTokens(size_hw, 24**2, (grid(size_hw),)), attention[:-1])
    attention[-1] = 0.9
    beside = heat(one, ImageTokens(size_hw, 24**2 + 1, (grid(size_hw),)), attention)
    assert np.array_equal(alone, beside)


def test_finest_view_is_drawn_above_the_others() -> None:
    size_hw = (84, 84)
    tiles = Tower((30, 30), 1, (30, 30)).view("tiles", 576 + np.arange(900).reshape(30, 30), (0, 84), (0, 42))
    geometry = ImageTokens(size_hw, 576 + 900, (tiles, grid(size_hw)))
    attention = np.ones(576 + 900, np.float32)
    attention[576:] = 0
    drawn = heat(sample(size_hw=size_hw), geometry, attention)
    assert drawn[:, :84].max() < 0.5
    assert drawn[:, 84:].min() > 0.6
