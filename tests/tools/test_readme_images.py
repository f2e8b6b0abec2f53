"""The README's images as they are committed; ``python -m tools.readme_images`` makes them again."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.conftest import REPOSITORY

MAX_BYTES = 250_000
MIN_WIDTH_PX = 800


@pytest.mark.parametrize("name", ["preview.png", "head-scores.png"])
def test_an_image_is_small_and_as_wide_as_the_readme(name: str) -> None:
    path = REPOSITORY / "docs" / "images" / name
    assert path.stat().st_size <= MAX_BYTES
    with Image.open(path) as image:
        assert image.width >= MIN_WIDTH_PX
