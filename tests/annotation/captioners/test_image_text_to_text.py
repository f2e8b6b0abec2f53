"""The captioner on the shipped vlm: batches, sampling, ends, whitespace and refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasetkit.annotation.captioners.image_text_to_text import ImageTextToTextCaptioner
from datasetkit.core.errors import ModelError
from datasetkit.options.models import ImageTextToTextOptions
from datasetkit.runtime.checkpoints import resolve
from tests.hi_scoring.tiny_models import TILE_PX, tiny

MODEL, PROMPT = "toyworld:vlm", "Describe the picture."


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    sizes_hw = ((128, 128), (60, 100), (150, 90), (32, 32), (128, 128), (64, 200), (90, 90), (1, 1))
    return [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes_hw]


@pytest.fixture(scope="module")
def captioner() -> ImageTextToTextCaptioner:
    torch.set_num_threads(1)
    return ImageTextToTextCaptioner(ImageTextToTextOptions(model=MODEL, prompt=PROMPT, max_new_tokens=48))


@pytest.fixture(scope="module")
def drawing() -> ImageTextToTextCaptioner:
    return ImageTextToTextCaptioner(
        ImageTextToTextOptions(model=MODEL, prompt=PROMPT, max_new_tokens=16, temperature=1.5, seed=3)
    )


@pytest.mark.slow
def test_batch_equals_single_images(captioner: ImageTextToTextCaptioner, images: list[Image.Image]) -> None:
    together = captioner.caption(images)
    assert together == [caption for image in images for caption in captioner.caption([image])]
    assert len({caption.text for caption in together}) > 1
    for caption in together:
        assert caption.text == " ".join(caption.text.split())
        assert not any(word in caption.text for word in ("USER", "ASSISTANT", "<", PROMPT))


def test_unfinished_caption_is_marked_as_cut(images: list[Image.Image]) -> None:
    short = ImageTextToTextCaptioner(ImageTextToTextOptions(model=MODEL, prompt=PROMPT, max_new_tokens=1))
    assert all(caption.is_cut and caption.text for caption in short.caption(images[:2]))


def test_red_is_called_red(captioner: ImageTextToTextCaptioner) -> None:
    (caption,) = captioner.caption([Image.new("RGB", (128, 128), (255, 0, 0))])
    assert "red" in caption.text.split()
    assert not caption.is_cut


def test_sampling_depends_only_on_seed_and_image(
    drawing: ImageTextToTextCaptioner, captioner: ImageTextToTextCaptioner, images: list[Image.Image]
) -> None:
    state = torch.random.get_rng_state()
    together = drawing.caption(images[:4])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert drawing.caption(images[3::-1]) == together[::-1]
    other = ImageTextToTextCaptioner(
        ImageTextToTextOptions(model=MODEL, prompt=PROMPT, max_new_tokens=16, temperature=1.5, seed=4)
    )
    assert other.caption(images[:4]) != together


def test_no_images_yield_no_captions(captioner: ImageTextToTextCaptioner) -> None:
    assert captioner.caption([]) == []


def test_model_without_chat_template_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mute"
    shutil.copytree(resolve(MODEL), folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no chat template"):
        ImageTextToTextCaptioner(ImageTextToTextOptions(model=str(folder), prompt=PROMPT))


def test_a_largest_side_scales_images_down_only(captioner: ImageTextToTextCaptioner, images: list[Image.Image]) -> None:
    small = ImageTextToTextCaptioner(
        ImageTextToTextOptions(model=MODEL, prompt=PROMPT, max_new_tokens=48, max_side_px=50)
    )
    wide, tiny_image = images[1], images[3]  # 100 x 60 px, 32 x 32 px
    reduced = wide.resize((50, 30), Image.Resampling.LANCZOS)
    assert small.caption([wide, tiny_image]) == [*captioner.caption([reduced]), *captioner.caption([tiny_image])]


@pytest.mark.parametrize(("max_side_px", "tiles"), [(None, 13), (2 * TILE_PX, 5), (TILE_PX, 1), (TILE_PX // 2, 1)])
def test_a_largest_side_reaches_processors_that_enlarge(
    tmp_path_factory: pytest.TempPathFactory, max_side_px: int | None, tiles: int
) -> None:
    folder = tmp_path_factory.mktemp("idefics3")
    family = tiny("idefics3")
    family.model.save_pretrained(folder)
    family.processor.save_pretrained(folder)
    made = ImageTextToTextCaptioner(
        ImageTextToTextOptions(model=str(folder), max_new_tokens=1, max_side_px=max_side_px)
    )
    seen: list[int] = []
    made._model.model.vision_model.register_forward_pre_hook(
        lambda _module, _args, named: seen.append(len(named["pixel_values"])), with_kwargs=True
    )
    made.caption([Image.new("RGB", (40, 30), (200, 30, 30))])
    assert seen == [tiles]
