"""Families whose processors need torchvision: LLaVA-OneVision, the Qwen-VL family, SmolVLM and InternVL."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.hi_scoring.families import family_of
from datasetkit.hi_scoring.families.internvl import tile_grid
from datasetkit.hi_scoring.families.llava_onevision import Interpolated, shrunk
from datasetkit.hi_scoring.families.qwen_vl import token_grid
from tests.hi_scoring.families.sight import (
    batch,
    ellipse,
    geometry,
    image_slots,
)
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import TinyFamily
from tests.hi_scoring.tiny_torchvision import ANYRES_GRID, ANYRES_PATCH_PX, TILE_GRID

Size = tuple[int, int]
QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
ALL = ("llava_onevision", *QWEN, "smolvlm", "internvl")
# LLaVA-OneVision shrinks the grid of all except the fourth and the last.
SIZES = ((480, 640), (500, 333), (300, 1000), (97, 61), (31, 200), (9, 14), (13, 7), (60, 400))

every_family = pytest.mark.parametrize("name", family_params(*ALL))
every_size = pytest.mark.parametrize("size_hw", SIZES, ids=str)


@every_family
@settings(max_examples=40)
@given(height=st.integers(1, 900), width=st.integers(1, 900))
def test_token_counts_equal_the_processors(name: str, height: int, width: int):
    assume(max(height, width) <= 200 * min(height, width))
    family = tiny(name)
    found = geometry(family, (height, width))
    ids = batch(family, [Image.new("RGB", (width, height))])["input_ids"]
    assert found.count == image_slots(family, ids).sum()


@every_family
@settings(max_examples=60)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000))
def test_views_show_the_whole_image_in_order(name: str, height: int, width: int):
    assume(max(height, width) <= 200 * min(height, width))
    found = geometry(tiny(name), (height, width))
    for view in found.views:
        for spans, length in ((view.top_bottom, height), (view.left_right, width)):
            assert (np.diff(spans[:, 0]) > 0).all()
            # LLaVA-OneVision removes padding in whole patches, and the remainders at the end of tiles.
            lost = 1.5 * (spans[0, 1] - spans[0, 0]) if name == "llava_onevision" else 1e-9 * length
            assert spans[0, 0] <= lost
            assert spans[-1, 1] >= length - lost
    shown = sum(view.tokens.size for view in found.views)
    newlines = sum(len(view.tokens) for view in found.views if view.name == "tiles")
    if name != "llava_onevision":
        assert shown == found.count
    elif newlines:
        assert shown == found.count - newlines


def as_processed(family: TinyFamily, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Share of white pixels in each image token, with the mask processed like an image, shape (M,)."""
    image = Image.fromarray(np.repeat(mask[0, ..., None], 3, axis=-1).astype(np.uint8) * 255)
    made = family.processor.image_processor(
        images=[image],
        do_normalize=False,
        resample=Image.Resampling.BILINEAR,
        return_tensors="pt",
        **({"crop_to_patches": True} if family.name == "internvl" else {}),
    )
    pixels = made["pixel_values"]
    if family.name in QWEN:
        return pixels.mean(-1).unflatten(0, (-1, 4)).mean(-1).numpy()
    tiles = pixels.flatten(0, -4).mean(1)
    if family.name != "llava_onevision":
        return _cells(tiles, TILE_GRID).flatten().numpy()
    seen = ANYRES_GRID * ANYRES_PATCH_PX
    patches = _cells(tiles[:, :seen, :seen], ANYRES_GRID).reshape(1, -1, ANYRES_GRID**2, 1)
    packed, _ = family.model.model.pack_image_features(patches, made["image_sizes"], torch.full((1,), torch.nan))
    return packed[0][:, 0].numpy()


def _cells(tiles: torch.Tensor, grid: int) -> torch.Tensor:
    return tiles.unflatten(1, (grid, -1)).unflatten(3, (grid, -1)).mean((2, 4))


@every_family
@every_size
def test_coverage_equals_that_of_a_processed_mask(name: str, size_hw: Size):
    family, mask = tiny(name), ellipse(size_hw)
    found, white = geometry(family, size_hw), as_processed(family, mask)
    assert len(white) == found.count
    # Everything except padding; a token counts by the part of the image that it shows.
    inside = as_processed(family, np.ones_like(mask))
    for view in found.views:
        differences = np.abs(view.coverage(mask)[0] - white[view.tokens] / inside[view.tokens])
        assert differences.mean() < 0.04
        # A pixel enlarged to the size of a token is blurred by that size, too.
        if min(size_hw) > 3 * max(view.tokens.shape):
            assert differences.max() < 0.02


def test_a_shrunk_grid_mixes_patches_and_leaves_padding_out():
    # Four rows of 10 px, the first of them padding, become two tokens; one column of three patches becomes one.
    spans = np.arange(-10.0, 30.0, 10.0)
    rows = np.stack([spans, spans + 10], axis=1)
    columns = np.array([[0.0, 8], [8, 16], [16, 24]])
    view = Interpolated.of("tiles", np.arange(2)[:, None], rows, columns, (30, 24))
    masks = np.zeros((3, 30, 24), bool)
    masks[0, :10, 8:16] = masks[1, :10] = masks[2, 15:, 8:16] = True
    # A token in the middle of three columns is interpolated only from the middle column.
    assert view.coverage(masks)[..., 0].tolist() == [[1, 0], [1, 0], [0, 0.75]]
    assert view.top_bottom.tolist() == [[-10, 10], [10, 30]]
    assert view.left_right.tolist() == [[0, 24]]


@every_family
def test_all_processor_outputs_reach_the_model(name: str):
    expected = {"input_ids", "attention_mask", "pixel_values"} | {
        "llava_onevision": {"image_sizes", "batch_num_images"},
        "smolvlm": {"pixel_attention_mask"},
        "internvl": set(),
    }.get(name, {"image_grid_thw", "mm_token_type_ids"})
    assert set(batch(tiny(name), [Image.new("RGB", (80, 60))])) == expected


@pytest.mark.parametrize("name", family_params("qwen2_5_vl"))
def test_qwen_ignores_missing_token_types_silently(name: str):
    family = tiny(name)
    inputs = batch(family, [Image.new("RGB", (240, 200))])
    without = {key: value for key, value in inputs.items() if key != "mm_token_type_ids"}
    with torch.no_grad():
        difference = family.model(**inputs).logits - family.model(**without).logits
    assert difference.abs().max() > 0.01


@pytest.mark.parametrize("name", family_params(*QWEN))
def test_too_narrow_image_is_dropped_first(name: str):
    family = tiny(name)
    with pytest.raises(UnusableError, match="3 x 601 px") as refused:
        geometry(family, (3, 601))
    assert refused.value.reason is DropReason.TOO_NARROW
    with pytest.raises(ValueError, match="aspect ratio"):
        batch(family, [Image.new("RGB", (601, 3))])
    assert geometry(family, (3, 600)).count


@pytest.mark.parametrize(
    ("size_hw", "token_px", "pixels", "grid"),
    [
        # Published settings of Qwen2-VL and Qwen3-VL.
        ((480, 640), 28, (56 * 56, 28 * 28 * 1280), (17, 23)),
        ((480, 640), 32, (256 * 256, 4096 * 4096), (15, 20)),
        # Halves are rounded to even, too many pixels down, too few up; a side is at least one.
        ((70, 98), 28, (1, 10**6), (2, 4)),
        ((100, 100), 10, (1, 9_000), (9, 9)),
        ((15, 15), 10, (1_000, 10**6), (4, 4)),
        ((10, 1_000), 10, (1, 1_000), (1, 31)),
    ],
)
def test_the_grid_of_qwen(size_hw: Size, token_px: int, pixels: tuple[int, int], grid: Size):
    assert token_grid(size_hw, token_px, *pixels) == grid


@pytest.mark.parametrize(
    ("size_hw", "tiles", "grid"),
    [
        # 3 x 4 tiles and the whole image make 3,328 tokens.
        ((480, 640), (1, 12), (3, 4)),
        ((448, 448), (1, 12), (1, 1)),
        # Equally square grids: 2 x 2 from half its area on, 3 x 3, too.
        ((635, 635), (1, 12), (2, 2)),
        ((1000, 1000), (1, 12), (3, 3)),
        ((100, 1000), (1, 6), (1, 6)),
        ((1000, 100), (2, 6), (6, 1)),
        ((500, 500), (2, 2), (2, 1)),
    ],
)
def test_the_tiles_of_internvl(size_hw: Size, tiles: tuple[int, int], grid: Size):
    assert tile_grid(size_hw, (448, 448), *tiles) == grid


@pytest.mark.parametrize(
    ("shape", "grid"), [((81, 81), (81, 81)), ((89, 89), (89, 89)), ((162, 162), (81, 81)), ((108, 150), (68, 95))]
)
def test_grids_far_over_nine_tiles_of_patches_are_shrunk(shape: Size, grid: Size):
    assert shrunk(shape, 9 * 27**2) == grid


@pytest.mark.parametrize(("size_hw", "count"), [((480, 640), 2929), ((1600, 2000), 7281)])
@pytest.mark.parametrize("name", family_params("llava_onevision"))
def test_published_onevision_has_known_token_counts(name: str, size_hw: Size, count: int):
    processor = copy.copy(tiny(name).processor)
    processor.image_processor = transformers.LlavaOnevisionImageProcessor()
    config = transformers.LlavaOnevisionConfig(
        vision_config={"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14}
    )
    assert family_of(config).image_tokens(processor, config, size_hw).count == count
