"""Families whose processors also work with PIL only: LLaVA, LLaVA-NeXT, PaliGemma, Gemma 3, Idefics3, on both backends.

Each is tested with the settings of its published processors, and with the other modes of its image processor.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.families import family_of
from datasetkit.runtime.packages import TORCHVISION
from tests.hi_scoring.families.sight import (
    batch,
    ellipse,
    geometry,
    image_slots,
)
from tests.hi_scoring.tiny_models import GRID, PATCH_PX, SIDE, TILE_PX, tiny
from tests.hi_scoring.tiny_parts import RATES, TinyFamily, word_tokenizer

pytestmark = pytest.mark.slow

Size = tuple[int, int]
PAN_AND_SCAN = {
    "do_pan_and_scan": True,
    "pan_and_scan_min_crop_size": 8,
    "pan_and_scan_max_num_crops": 4,
    "pan_and_scan_min_ratio_to_activate": 1.2,
}
# A family, and additional settings of its image processor.
SET_UPS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llava that crops": ("llava", {}),
    "llava that pads": ("llava", {"do_pad": True, "image_mean": [0.0] * 3}),
    "llava that squashes": ("llava", {"size": SIDE, "do_center_crop": False}),
    "llava that cuts more": ("llava", {"size": {"shortest_edge": 98}}),
    "llava_next": ("llava_next", {}),
    "paligemma": ("paligemma", {}),
    "gemma3": ("gemma3", {}),
    "gemma3 with pan and scan": ("gemma3", PAN_AND_SCAN),
    "idefics3": ("idefics3", {}),
    "idefics3 with other tiles": ("idefics3", {"size": {"longest_edge": 3 * TILE_PX + 22}}),
    "idefics3 without tiles": ("idefics3", {"do_image_splitting": False}),
    "idefics3 in one tile": ("idefics3", {"size": {"longest_edge": TILE_PX}}),
}
SIZES = ((240, 320), (250, 167), (120, 400), (97, 61), (31, 200), (9, 14), (13, 7))

every_set_up = pytest.mark.parametrize("name", SET_UPS)
every_size = pytest.mark.parametrize("size_hw", SIZES, ids=str)
backends = pytest.mark.parametrize(
    "backend",
    [
        "pil",
        pytest.param(
            "torchvision",
            marks=pytest.mark.skipif(TORCHVISION.fault() is not None, reason="torchvision is not installed"),
        ),
    ],
)


def set_up(name: str, backend: str, **more: Any) -> TinyFamily:
    """A tiny family with another image processor; ``more`` overrides its settings."""
    family_name, changes = SET_UPS[name]
    family = tiny(family_name)
    made = family.processor.image_processor
    class_name = "LlavaImageProcessorPil" if "do_pad" in changes else type(made).__name__
    image_class = getattr(transformers, class_name.removesuffix("Pil" if backend == "torchvision" else ""))
    processor = copy.copy(family.processor)
    processor.image_processor = image_class(**{**made.to_dict(), **changes, **more})
    if "do_pan_and_scan" in changes:
        processor.images_kwargs = {**processor.images_kwargs, **PAN_AND_SCAN}
    return TinyFamily(name, family.model, processor)


@every_set_up
@backends
@settings(max_examples=20)
@given(height=st.integers(1, 400), width=st.integers(1, 400))
def test_token_counts_equal_the_processors(name: str, backend: str, height: int, width: int):
    family = set_up(name, backend)
    ids = batch(family, [Image.new("RGB", (width, height))])["input_ids"]
    assert geometry(family, (height, width)).count == image_slots(family, ids).sum()


@every_set_up
@settings(max_examples=40)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000))
def test_rows_and_columns_are_even_and_without_gaps(name: str, height: int, width: int):
    found = geometry(set_up(name, "pil"), (height, width))
    for view in found.views:
        for spans, length in ((view.top_bottom, height), (view.left_right, width)):
            np.testing.assert_allclose(np.diff(spans, axis=1), spans[0, 1] - spans[0, 0], atol=1e-6)
            np.testing.assert_allclose(spans[1:, 0], spans[:-1, 1], atol=1e-9 * length)


@every_set_up
@settings(max_examples=40)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000))
def test_grids_show_the_whole_image_or_its_centre(name: str, height: int, width: int):
    found = geometry(set_up(name, "pil"), (height, width))
    for view in (view for view in found.views if view.name in ("global", "tiles")):
        for spans, length in ((view.top_bottom, height), (view.left_right, width)):
            (first, last), token = (spans[0, 0], spans[-1, 1]), spans[0, 1] - spans[0, 0]
            if name in ("llava that crops", "llava that cuts more"):
                assert first >= 0
                assert last <= length * (1 + 1e-9)
                assert abs(first - (length - last)) <= 1.01 * token / PATCH_PX
            else:
                # All of it, except less than a token on either side, which LLaVA-NeXT removes with the padding.
                assert first < 1e-9 + token * (name == "llava_next")
                assert last > length * (1 - 1e-9) - token * (name == "llava_next")


def as_processed(family: TinyFamily, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Share of white pixels in each image token, with the mask processed like an image, shape (M,)."""
    image = Image.fromarray(np.repeat(mask[0, ..., None], 3, axis=-1).astype(np.uint8) * 255)
    # Small images are enlarged, and the blur reaches other tokens.
    resample = Image.Resampling.BILINEAR if min(image.size) > 60 else Image.Resampling.NEAREST
    made = family.processor.image_processor([image], do_normalize=False, resample=resample, return_tensors="pt")
    images = made["pixel_values"].float().flatten(0, -4).mean(1)
    cell_px = 2 * PATCH_PX if family.name.startswith("gemma3") else PATCH_PX
    cells = images.unflatten(1, (-1, cell_px)).unflatten(3, (-1, cell_px)).mean((2, 4))
    if family.name != "llava_next":
        return cells.flatten().numpy()
    newline = torch.full((1,), torch.nan)
    packed, _ = family.model.model.pack_image_features(
        [cells.reshape(-1, GRID**2, 1)], made["image_sizes"], "default", newline
    )
    return packed[0][:, 0].numpy()


@every_set_up
@every_size
@backends
def test_coverage_equals_that_of_a_processed_mask(name: str, size_hw: Size, backend: str):
    family, mask = set_up(name, backend), ellipse(size_hw)
    found = geometry(family, size_hw)
    processed, image = as_processed(family, mask), as_processed(family, np.ones_like(mask))
    assert len(processed) == found.count
    for view in found.views:
        expected = view.coverage(mask)[0] * image[view.tokens]
        np.testing.assert_allclose(expected, processed[view.tokens], atol=0.02 if min(size_hw) > 60 else 0.08)
        assert np.abs(expected - processed[view.tokens]).mean() < 0.02


@pytest.mark.parametrize(
    ("name", "size_hw", "bands"),
    [
        # Resized to 84 x 112; 14 px are cropped on the left and on the right.
        ("llava that crops", (300, 400), (0, 300, 50, 350)),
        # To 98 x 131, and (131 - 84) // 2 = 23.
        ("llava that cuts more", (294, 393), (21, 273, 69, 321)),
        # 50 px of padding above and below.
        ("llava that pads", (300, 400), (-50, 350, 0, 400)),
        ("llava that squashes", (300, 400), (0, 300, 0, 400)),
    ],
)
def test_llava_sees_what_its_processor_keeps(name: str, size_hw: Size, bands: tuple[int, ...]):
    (view,) = geometry(set_up(name, "pil"), size_hw).views
    assert [*view.top_bottom[[0, -1], [0, 1]], *view.left_right[[0, -1], [0, 1]]] == pytest.approx(bands)


@pytest.mark.parametrize(
    ("size_hw", "shape"),
    # LLaVA-NeXT pads images, and removes whole rows or columns of tokens again.
    [
        ((84, 84), (6, 6)),
        ((168, 168), (12, 12)),
        ((84, 168), (6, 12)),
        ((168, 84), (12, 6)),
        ((100, 150), (8, 12)),
        ((10, 300), None),
    ],
)
def test_llava_next_leaves_padding_out(size_hw: Size, shape: Size | None):
    found = geometry(tiny("llava_next"), size_hw)
    assert [view.tokens.shape for view in found.views[1:]] == ([] if shape is None else [shape])


def test_pan_and_scan_cuts_long_images():
    family = set_up("gemma3 with pan and scan", "pil")
    long, square = geometry(family, (30, 100)), geometry(family, (30, 35))
    assert [view.name for view in long.views] == ["global", "crop 0", "crop 1", "crop 2"]
    assert [view.left_right[[0, -1], [0, 1]].tolist() for view in long.views[1:]] == [[0, 34], [34, 68], [68, 100]]
    assert [view.name for view in square.views] == ["global"]


# As in the models on the Hub, where the counts can be looked up.
PUBLISHED = {
    "llava": (lambda: _clip(transformers.LlavaProcessor, transformers.CLIPImageProcessorPil), "Llava", 576),
    "llava_next": (
        lambda: _clip(transformers.LlavaNextProcessor, transformers.LlavaNextImageProcessorPil),
        "LlavaNext",
        2340,
    ),
}


def _clip(processor_class: Any, image_class: Any) -> Any:
    side = {"height": 336, "width": 336}
    return processor_class(
        image_class(size={"shortest_edge": 336}, crop_size=side, **RATES),
        word_tokenizer({"image_token": "<image>"}),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_known_token_counts(name: str):
    processor, config_name, count = PUBLISHED[name]
    config = getattr(transformers, f"{config_name}Config")()
    assert family_of(config).image_tokens(processor(), config, (480, 640)).count == count


def test_idefics3_as_published_has_twelve_tiles_and_the_image():
    processor = copy.copy(tiny("idefics3").processor)
    processor.image_processor, processor.image_seq_len = transformers.Idefics3ImageProcessorPil(), 169
    config = tiny("idefics3").model.config
    found = family_of(config).image_tokens(processor, config, (240, 320))
    assert (found.count, found.views[1].tokens.shape) == (13 * 169, (39, 52))


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("llava that crops", {"size": {"longest_edge": 84}}, "longest_edge"),
        ("llava_next", {"size": {"shortest_edge": 98}}, "98"),
        ("llava_next", {"crop_size": {"height": 70, "width": 70}}, "70"),
    ],
)
def test_unknown_processor_settings_are_refused(name: str, more: dict[str, Any], told: str):
    with pytest.raises(ModelError, match=told):
        geometry(set_up(name, "pil", **more), (60, 80))


def test_missing_class_token_cannot_be_left_out():
    family = set_up("llava that crops", "pil")
    family.processor.num_additional_image_tokens = 0
    with pytest.raises(ModelError, match="num_additional_image_tokens"):
        geometry(family, (60, 80))
