"""All families: the known ones, how they encode prompts and responses, and what is refused."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, BertConfig, PixtralVisionConfig

from datasetkit.core.errors import MissingPackageError, ModelError
from datasetkit.hi_scoring import families
from datasetkit.hi_scoring.families import family_of
from datasetkit.hi_scoring.families.base import Family
from datasetkit.options.heads import FAMILIES
from datasetkit.runtime.checkpoints import resolve
from datasetkit.runtime.loading import load_model, load_processor
from tests.hi_scoring.families.sight import batch, geometry
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import TinyFamily
from tests.precision import TOLERANCE

PROMPT = "Describe the image."
RESPONSES = ["A red square above a blue circle.", "a green circle"]

every_family = pytest.mark.parametrize("name", family_params())


def test_unknown_family_is_refused_with_instructions():
    with pytest.raises(ModelError) as refused:
        family_of(BertConfig())
    message = str(refused.value)
    assert all(word in message for word in ("'bert'", "hi_scoring/families", "Family", *FAMILIES.builtin))


@every_family
def test_family_is_found_by_model_type(name: str):
    config = tiny(name).model.config
    assert config.model_type in FAMILIES.builtin
    assert config.model_type in family_of(config).model_types


def test_every_file_of_the_package_is_in_use():
    files = {path.stem for path in Path(families.__file__).parent.glob("[!_]*.py")} - {"base"}
    assert files == {one.path.rpartition(":")[0].rpartition(".")[2] for one in FAMILIES.builtin.values()}


def make_image(size_hw: tuple[int, int], seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8))


@every_family
def test_response_tokens_are_where_stated(name: str):
    tiny_family = tiny(name)
    family, processor = family_of(tiny_family.model.config), tiny_family.processor
    inputs = batch(tiny_family, [make_image((60, 80)), make_image((150, 40))], RESPONSES)
    prompt = family.prompt(processor, PROMPT)
    end = inputs["input_ids"].shape[1] - family.response_tail
    for row, response in zip(inputs["input_ids"].tolist(), RESPONSES, strict=True):
        ids, spans = family.response_tokens(processor, prompt, response)
        assert row[end - len(ids) : end] == ids
        assert [response[start:stop] for start, stop in spans] == response.replace(".", " .").split()
        assert processor.tokenizer.decode(row[end:]).strip() in ("", processor.tokenizer.eos_token)


@every_family
def test_batch_begins_once_and_is_left_padded(name: str):
    tiny_family = tiny(name)
    tokenizer = tiny_family.processor.tokenizer
    inputs = batch(tiny_family, [make_image((60, 80)), make_image((60, 80))], RESPONSES)
    assert not any(key in inputs for key in ("labels", "rows", "cols", "num_crops"))
    for ids, attended in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
        kept = ids[attended == 1]
        assert (ids[: len(ids) - len(kept)] == tokenizer.pad_token_id).all()
        assert (kept == tokenizer.bos_token_id).sum() <= 1
        assert not (kept == tokenizer.pad_token_id).any()
    assert (inputs["attention_mask"][:, 0] == 0).any()


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
@every_family
def test_padding_and_neighbours_change_no_logits(name: str):
    tiny_family = tiny(name)
    images = [make_image((60, 80)), make_image((150, 40), seed=1)]
    together = logits(tiny_family, batch(tiny_family, images, RESPONSES))
    for row, (image, response) in enumerate(zip(images, RESPONSES, strict=True)):
        alone = logits(tiny_family, batch(tiny_family, [image], [response]))[0]
        torch.testing.assert_close(together[row, -len(alone) :], alone, atol=TOLERANCE, rtol=0)


def logits(tiny_family: TinyFamily, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return tiny_family.model(**inputs).logits


def test_model_without_chat_template_is_refused():
    mute = copy.copy(tiny("llava").processor)
    mute.chat_template = None
    with pytest.raises(ModelError, match="LlavaProcessor has no chat template"):
        family_of(tiny("llava").model.config).prompt(mute, PROMPT)


def test_the_tower_of_pixtral_is_refused():
    config = copy.copy(tiny("llava").model.config)
    config.vision_config = PixtralVisionConfig()
    with pytest.raises(ModelError, match="Pixtral"):
        family_of(config).image_tokens(tiny("llava").processor, config, (60, 80))


def test_the_shipped_model_is_known():
    config = AutoConfig.from_pretrained(resolve("toyworld:vlm"))
    processor = load_processor(AutoProcessor, "toyworld:vlm", None)
    model = load_model(AutoModelForImageTextToText, "toyworld:vlm", None, device="cpu", dtype="float32")
    shipped = TinyFamily("toyworld:vlm", model, processor)
    found = geometry(shipped, (100, 160))
    assert [(view.name, view.tokens.shape) for view in found.views] == [("global", (8, 8))]
    assert found.views[0].boxes()[0, 1].tolist() == [20, 0, 40, 12.5]
    inputs = batch(shipped, [make_image((100, 160))], RESPONSES[:1])
    assert (inputs["input_ids"] == config.image_token_id).sum() == found.count
    assert (inputs["input_ids"] == processor.tokenizer.bos_token_id).sum() == 1
    ids, _ = family_of(config).response_tokens(processor, family_of(config).prompt(processor, PROMPT), RESPONSES[0])
    assert inputs["input_ids"][0, -len(ids) :].tolist() == ids


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_missing_torchvision_is_reported():
    config = copy.copy(tiny("llava").model.config)
    config.model_type = "qwen2_vl"
    with pytest.raises(MissingPackageError, match="torchvision"):
        family_of(config)


def test_families_hold_no_state():
    assert all(not vars(cls()) for cls in Family.__subclasses__())
