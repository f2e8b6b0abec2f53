from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datasetkit.annotation.similarity import ImageTextCropScorer, crop_of
from datasetkit.core.errors import ModelError
from datasetkit.options.models import SimilarityOptions
from tests.annotation.tiny_clip import save_image_text_model

RED = Image.new("RGB", (40, 20), (255, 0, 0))


@pytest.fixture(scope="module", params=["clip", "siglip", "siglip2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_image_text_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def scorer(folder: Path) -> ImageTextCropScorer:
    torch.set_num_threads(1)
    return ImageTextCropScorer(SimilarityOptions(model=str(folder)))


def noise(seed: int, size_wh: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_scores_are_cosines_clipped_at_zero(scorer: ImageTextCropScorer) -> None:
    crops = [noise(seed, size) for seed, size in enumerate(((40, 20), (20, 70), (32, 32), (1, 1)))]
    phrases = ["a red star", "cat", "a dog", "a"]
    scores = scorer.score(crops, phrases)
    assert scores.shape == (4,)
    assert scores.dtype == np.float64
    model, processor = scorer._model, scorer._processor
    for crop, phrase, score in zip(crops, phrases, scores, strict=True):
        inputs = processor.tokenizer([phrase], padding="max_length", max_length=8, return_tensors="pt")
        if not scorer._is_clip:
            del inputs["attention_mask"]
        inputs.update(processor.image_processor(images=[crop], return_tensors="pt"))
        with torch.inference_mode():
            own = model(**inputs)
        cosine = float((own.image_embeds * own.text_embeds).sum())
        assert score == pytest.approx(max(cosine, 0.0), abs=1e-5)
    assert (scores > 0).any()


def test_no_crops_yield_no_scores(scorer: ImageTextCropScorer) -> None:
    assert scorer.score([], []).shape == (0,)


def test_crops_and_phrases_must_be_equally_many(scorer: ImageTextCropScorer) -> None:
    with pytest.raises(ValueError, match="2 crops and 1 phrases"):
        scorer.score([RED, RED], ["a"])


def test_long_phrases_are_cut(scorer: ImageTextCropScorer) -> None:
    long, cut = scorer.score([RED, RED], ["a red star " * 40, "a red star a red star"])
    assert long == pytest.approx(cut, abs=1e-6)


def test_red_arrives_red(scorer: ImageTextCropScorer) -> None:
    seen: list[torch.Tensor] = []
    inner = scorer._model.vision_model
    handle = inner.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs.get("pixel_values", args[0] if args else None)),
        with_kwargs=True,
    )
    try:
        scorer.score([RED], ["a red star"])
    finally:
        handle.remove()
    pixels = seen[0].flatten() if seen[0].ndim == 3 else seen[0].permute(0, 2, 3, 1).flatten()
    red, green, blue = pixels.reshape(-1, 3)[0].tolist()
    assert red > 0.9
    assert max(green, blue) < 0


def test_identity_contains_no_path(scorer: ImageTextCropScorer, folder: Path) -> None:
    (identity,) = scorer.identities
    assert identity.role == "similarity"
    assert identity.id == folder.name


def test_other_architecture_is_refused() -> None:
    with pytest.raises(ModelError, match="type sam; give one of type clip or siglip or siglip2"):
        ImageTextCropScorer(SimilarityOptions(model="toyworld:segmenter"))


def test_crop_has_a_margin_inside_the_image() -> None:
    image = noise(0, (100, 60))
    pixels = np.asarray(image)
    assert np.array_equal(np.asarray(crop_of(image, (20, 10, 40, 30))), pixels[8:32, 18:42])
    assert np.array_equal(np.asarray(crop_of(image, (0, 0, 100, 60))), pixels)
    assert np.array_equal(np.asarray(crop_of(image, (20.5, 10.5, 21, 11), margin=0)), pixels[10:11, 20:21])


@given(st.data())
def test_crop_contains_its_box(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    left, right = sorted(data.draw(st.tuples(st.floats(0, width), st.floats(0, width))))
    top, bottom = sorted(data.draw(st.tuples(st.floats(0, height), st.floats(0, height))))
    crop = crop_of(Image.new("RGB", (width, height)), (left, top, right, bottom))
    assert right - left <= crop.width <= width
    assert bottom - top <= crop.height <= height
    assert min(crop.size) >= 1
