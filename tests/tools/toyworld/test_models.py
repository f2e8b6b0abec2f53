from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoModelForMaskGeneration,
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
)

from datasetkit.core.errors import UnknownNameError
from datasetkit.runtime.checkpoints import NAMES, resolve, weights_folder
from datasetkit.toyworld.domain import DOMAINS
from tools.toyworld.models.detector import build_detector, detector_processor, phrase_map, prompt_of
from tools.toyworld.models.segmenter import build_segmenter, segmenter_processor
from tools.toyworld.models.tokenizers import detector_tokenizer, words_of
from tools.toyworld.models.vlm import GRID, build_vlm, vlm_processor
from tools.toyworld.training.saving import save_half

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
# Half precision keeps 11 bits; a few layers may add their roundings up.
HALF_TOLERANCE = 0.02


def outputs(name: str, model: torch.nn.Module, processor: object) -> list[torch.Tensor]:
    """Return the output of a model for the image, without padding."""
    if name == "detector":
        inputs = processor(images=IMAGE, text="a red star . a small ring .", return_tensors="pt")
        output = model(**inputs)
        return [output.logits[..., : inputs["input_ids"].shape[1]].sigmoid(), output.pred_boxes]
    if name == "segmenter":
        inputs = processor(images=IMAGE, input_boxes=[[[10.0, 20.0, 60.0, 90.0]]], return_tensors="pt")
        output = model(pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float())
        return [output.pred_masks.sigmoid(), output.iou_scores]
    inputs = processor(images=IMAGE, text="<s>USER: <image> Is there a star? ASSISTANT:", return_tensors="pt")
    return [model(**inputs).logits.softmax(-1)]


def build(name: str) -> tuple[torch.nn.Module, object, type]:
    torch.manual_seed(0)
    if name == "detector":
        processor = detector_processor()
        return build_detector(processor), processor, AutoModelForZeroShotObjectDetection
    if name == "segmenter":
        return build_segmenter(), segmenter_processor(), AutoModelForMaskGeneration
    processor = vlm_processor()
    return build_vlm(processor), processor, AutoModelForImageTextToText


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_model_saved_in_half_precision_answers_the_same(name: str, tmp_path: Path) -> None:
    model, processor, auto = build(name)
    model = model.eval()
    save_half(model, processor, tmp_path)
    loaded = auto.from_pretrained(tmp_path, dtype=torch.float32).eval()
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is type(model)
    rounded = copy.deepcopy(model).half().float()
    found, exact, original = (
        outputs(name, loaded, again),
        outputs(name, rounded, processor),
        outputs(name, model, processor),
    )
    for values, same, before in zip(found, exact, original, strict=True):
        torch.testing.assert_close(values, same, atol=1e-6, rtol=0)
        # An untrained detector chooses proposals by scores that are all but equal: rounding may reorder them.
        if name != "detector":
            torch.testing.assert_close(values, before, atol=HALF_TOLERANCE, rtol=0)


def test_the_detector_tokenizer_has_the_ids_of_its_architecture() -> None:
    tokenizer = detector_tokenizer()
    assert len(tokenizer) == 1030
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?"]) == [
        0,
        100,
        101,
        102,
        1012,
        1029,
    ]
    ids = tokenizer("A red star. Two rings.").input_ids
    assert ids[0] == 101
    assert ids[-1] == 102
    assert ids.count(1012) == 2
    assert tokenizer.unk_token_id not in ids
    assert tokenizer("a purple elephant .").input_ids.count(tokenizer.unk_token_id) == 1


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=lambda domain: domain.name)
def test_both_tokenizers_know_every_word_of_a_domain(domain: object) -> None:
    words = {*words_of(domain.vocabulary), *words_of(domain.captions), *words_of(domain.questions)}
    for tokenizer in (detector_tokenizer(), vlm_processor().tokenizer):
        assert words <= tokenizer.get_vocab().keys()


def test_an_image_has_one_token_per_patch_before_the_answer() -> None:
    processor = vlm_processor()
    content = [{"type": "image"}, {"type": "text", "text": "Is there a red star?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert text == "<s>USER: <image> Is there a red star? ASSISTANT: "
    ids = processor(images=IMAGE, text=text, return_tensors="pt")["input_ids"][0]
    assert int((ids == processor.tokenizer.convert_tokens_to_ids("<image>")).sum()) == GRID**2
    assert processor.decode(ids, skip_special_tokens=True) == "user : is there a red star? assistant :"


@pytest.mark.parametrize("name", NAMES)
def test_a_red_image_reaches_each_model_red(name: str) -> None:
    _, processor, _ = build(name)
    red = Image.new("RGB", (128, 128), (255, 0, 0))
    pixels = processor.image_processor(images=red, return_tensors="pt")["pixel_values"][0]
    assert pixels.shape == (3, 128, 128)
    assert pixels[0].min() > 1.0 > 0.0 > pixels[1].max()
    assert pixels[2].max() < 0.0


@pytest.mark.parametrize("name", NAMES)
def test_images_are_prepared_alike_with_torchvision_and_without(name: str) -> None:
    pytest.importorskip("torchvision", reason="transformers prepares images by Pillow where torchvision is absent")
    _, processor, _ = build(name)
    auto = AutoProcessor.from_pretrained(resolve(f"toyworld:{name}")).image_processor
    assert type(auto) is not type(processor.image_processor)
    by_torchvision = auto(images=IMAGE, return_tensors="pt")["pixel_values"]
    by_pillow = processor.image_processor(images=IMAGE, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(by_torchvision, by_pillow, atol=1e-5, rtol=0)


def test_tokens_are_told_apart_by_phrase() -> None:
    ids = detector_tokenizer()(prompt_of(["a red star", "ring"]), return_tensors="pt").input_ids[0]
    tokens = phrase_map(ids, 1012, 2)
    assert tokens.int().tolist() == [[0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0]]


def test_names_of_shipped_models_resolve_and_others_stay() -> None:
    assert resolve("toyworld:detector") == str(weights_folder() / "detector")
    assert resolve("facebook/sam-vit-base") == "facebook/sam-vit-base"
    with pytest.raises(UnknownNameError, match="toyworld:vlm"):
        resolve("toyworld:painter")


@pytest.mark.slow
def test_all_shipped_models_load_offline_with_an_empty_cache(tmp_path: Path) -> None:
    code = """
from transformers import AutoModelForImageTextToText, AutoModelForMaskGeneration, AutoModelForZeroShotObjectDetection
from transformers import AutoProcessor
from datasetkit.runtime.checkpoints import resolve
classes = AutoModelForZeroShotObjectDetection, AutoModelForMaskGeneration, AutoModelForImageTextToText
for auto, name in zip(classes, ("detector", "segmenter", "vlm")):
    folder = resolve(f"toyworld:{name}")
    AutoProcessor.from_pretrained(folder)
    print(type(auto.from_pretrained(folder)).__name__)
"""
    flags = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | flags, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["GroundingDinoForObjectDetection", "SamModel", "LlavaForConditionalGeneration"]
