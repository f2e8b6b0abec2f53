from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.annotation.detectors.tiny import save_grounding_dino, save_owlv2


@pytest.fixture(scope="session", params=["grounding-dino", "mm-grounding-dino"])
def grounding_dino(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_grounding_dino(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture(scope="session")
def owlv2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_owlv2(tmp_path_factory.mktemp("owlv2")))


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    """Return images of noise: two of one size, one wide, one tall."""
    generator = np.random.default_rng(0)
    sizes_hw = ((80, 80), (80, 80), (60, 120), (150, 100))
    return [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes_hw]
