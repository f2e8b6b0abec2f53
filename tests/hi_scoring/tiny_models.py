"""A tiny random model and a real processor of each family: ``tiny(name)``, and ``family_params()`` for all of them."""

from __future__ import annotations

import copy
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    Gemma3TextConfig,
    GemmaConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
)

from datasetkit.runtime.packages import TORCHVISION
from tests.hi_scoring.tiny_parts import (
    RATES,
    TEXT,
    VISION,
    Builder,
    TinyFamily,
    built,
    chat_template,
    token_ids,
    word_tokenizer,
)
from tests.hi_scoring.tiny_torchvision import BUILDERS as WITH_TORCHVISION
from tests.precision import default_dtype

SIDE_PX, PATCH_PX = 84, 14
GRID = SIDE_PX // PATCH_PX
TILE_PX, TILE_PATCH_PX = 56, 7
SIDE = {"height": SIDE_PX, "width": SIDE_PX}
CROP = {"size": {"shortest_edge": SIDE_PX}, "crop_size": SIDE}
# (height, width) px, as in the published checkpoints for tiles of 336 px.
PINPOINTS = [[h * SIDE_PX, w * SIDE_PX] for h, w in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
CLIP_TOKENS = {"patch_size": PATCH_PX, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}


def llava_processor(image_processor: Any) -> LlavaProcessor:
    return LlavaProcessor(
        image_processor,
        word_tokenizer({"image_token": "<image>"}),
        chat_template=chat_template("<image>"),
        **CLIP_TOKENS,
    )


def _llava() -> tuple[Any, Any]:
    processor = llava_processor(CLIPImageProcessorPil(**CROP, **RATES))
    config = LlavaConfig(
        text_config=LlamaConfig(**TEXT, **token_ids(processor.tokenizer)),
        vision_config=CLIPVisionConfig(**VISION, image_size=SIDE_PX, patch_size=PATCH_PX),
        image_token_index=processor.image_token_id,
        image_seq_length=GRID**2,
    )
    return built(LlavaForConditionalGeneration, config), processor


def _llava_next() -> tuple[Any, Any]:
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(**CROP, **RATES, image_grid_pinpoints=PINPOINTS),
        word_tokenizer({"image_token": "<image>"}),
        chat_template=chat_template("<image>"),
        **CLIP_TOKENS,
    )
    config = LlavaNextConfig(
        text_config=LlamaConfig(**TEXT, **token_ids(processor.tokenizer)),
        vision_config=CLIPVisionConfig(**VISION, image_size=SIDE_PX, patch_size=PATCH_PX),
        image_token_index=processor.image_token_id,
        image_grid_pinpoints=PINPOINTS,
        image_seq_length=GRID**2,
    )
    return built(LlavaNextForConditionalGeneration, config), processor


def _paligemma(text_class: Any, **text: Any) -> tuple[Any, Any]:
    processor = PaliGemmaProcessor(
        SiglipImageProcessorPil(size=SIDE, **RATES, image_seq_length=GRID**2),
        word_tokenizer({"image_token": "<image>"}, adds_bos=False),
    )
    config = PaliGemmaConfig(
        text_config=text_class(**TEXT, **token_ids(processor.tokenizer), **text),
        vision_config=SiglipVisionConfig(**VISION, image_size=SIDE_PX, patch_size=PATCH_PX, vision_use_head=False),
        image_token_index=processor.image_token_id,
        projection_dim=TEXT["hidden_size"],
        hidden_size=TEXT["hidden_size"],
    )
    return built(PaliGemmaForConditionalGeneration, config), processor


def _paligemma1() -> tuple[Any, Any]:
    return _paligemma(GemmaConfig)


def _paligemma2() -> tuple[Any, Any]:
    return _paligemma(Gemma2Config, sliding_window=16, attn_logit_softcapping=50.0, query_pre_attn_scalar=16)


def _gemma3() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(
        {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    )
    pooled = GRID // 2
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size=SIDE, **RATES),
        tokenizer,
        chat_template=chat_template("<start_of_image>", has_bos=True),
        image_seq_length=pooled**2,
    )
    config = Gemma3Config(
        text_config=Gemma3TextConfig(
            **TEXT,
            **token_ids(tokenizer),
            query_pre_attn_scalar=16,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"] * 2,
        ),
        vision_config=SiglipVisionConfig(**VISION, image_size=SIDE_PX, patch_size=PATCH_PX, vision_use_head=False),
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        mm_tokens_per_image=pooled**2,
    )
    model = built(Gemma3ForConditionalGeneration, config)
    # Initial weights are zero, so no image would reach the text.
    weight = model.model.multi_modal_projector.mm_input_projection_weight.data
    weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    return model, processor


def _idefics3() -> tuple[Any, Any]:
    per_tile = (TILE_PX // TILE_PATCH_PX // 2) ** 2
    tags = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(
            size={"longest_edge": 4 * TILE_PX}, max_image_size={"longest_edge": TILE_PX}, **RATES
        ),
        word_tokenizer(more=["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *tags]),
        image_seq_len=per_tile,
        chat_template=chat_template("<image>"),
    )
    config = Idefics3Config(
        text_config=LlamaConfig(**TEXT, **token_ids(processor.tokenizer)),
        vision_config={**VISION, "image_size": TILE_PX, "patch_size": TILE_PATCH_PX},
        image_token_id=processor.image_token_id,
        scale_factor=2,
    )
    return built(Idefics3ForConditionalGeneration, config), processor


BUILDERS: dict[str, Builder] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "paligemma": _paligemma1,
    "paligemma2": _paligemma2,
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    **WITH_TORCHVISION,
}
NAMES = tuple(BUILDERS)


def tiny(name: str) -> TinyFamily:
    """The tiny model of a family, in torch's default type; always the same object, so do not change it."""
    return _of_type(name, torch.get_default_dtype())


@cache
def _of_type(name: str, dtype: torch.dtype) -> TinyFamily:
    if dtype is torch.float32:
        return TinyFamily(name, *BUILDERS[name]())
    # Cast, since weights drawn in another type would differ.
    with default_dtype(torch.float32):
        single = tiny(name)
        return TinyFamily(name, copy.deepcopy(single.model).to(dtype), single.processor)


def family_params(*names: str) -> list[Any]:
    """Parameters for each of these families (all if none is named), skipped if a package is missing."""
    return [pytest.param(name, marks=_skips(name)) for name in names or NAMES]


def _skips(name: str) -> list[pytest.MarkDecorator]:
    missing = name in WITH_TORCHVISION and TORCHVISION.fault()
    marks = [pytest.mark.skipif(bool(missing), reason=f"torchvision does not work here: {missing}")]
    if name == "smolvlm":
        marks.append(pytest.mark.skipif(find_spec("num2words") is None, reason="num2words is not installed"))
    return marks
