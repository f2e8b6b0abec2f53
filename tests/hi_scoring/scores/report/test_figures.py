"""Plots of head scores: undefined values are grey, equal scores give equal images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from datasetkit.hi_scoring.scores.report.figures import heatmaps, layer_curves
from datasetkit.hi_scoring.scores.results import Head
from tests.hi_scoring.scores.report.made import scores

pytestmark = pytest.mark.slow

GREY = (0xC4, 0xC4, 0xC4)


def share_of_grey(png: bytes) -> float:
    return float((np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) == GREY).all(-1).mean())


@pytest.mark.parametrize("name", ["hi", "hi_lift"])
def test_undefined_is_grey_unlike_any_value(name: str) -> None:
    found = scores()
    assert share_of_grey(heatmaps(found, "response", [])) < 0.001  # edges of letters
    found.values[name, "response"][:] = np.nan
    assert share_of_grey(heatmaps(found, "response", [])) > 0.02


@pytest.mark.parametrize("heads", [4, 24, 40])
def test_maps_of_many_heads_have_room_and_fit_a_page(heads: int) -> None:
    found = scores(shape=(heads, heads))
    width, height = Image.open(io.BytesIO(heatmaps(found, "response", [Head(0, 1)]))).size
    assert 900 < width <= 1320
    assert height < 2.5 * width


def test_equal_scores_are_equal_curves() -> None:
    names = ["image_mass", "hi", "hi_lift"]
    assert layer_curves(scores(), names, "response") == layer_curves(scores(), names, "response")
