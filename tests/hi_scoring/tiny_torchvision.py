"""Tiny models of the families whose processors need torchvision.

Their classes are looked up when a model is built: without torchvision, some names return another class, and warn.
"""

from __future__ import annotations

from typing import Any

import transformers

from tests.hi_scoring.tiny_parts import (
    RATES,
    TEXT,
    VISION,
    Builder,
    built,
    chat_template,
    token_ids,
    word_tokenizer,
)

# Like 384 px with patches of 14 px in the published model: the last 2 px of a tile are in no patch.
ANYRES_PX, ANYRES_PATCH_PX, ANYRES_GRID = 30, 7, 4
ANYRES_PINPOINTS = [[rows * ANYRES_PX, columns * ANYRES_PX] for rows in range(1, 7) for columns in range(1, 7)]
TILE_PX, TILE_PATCH_PX, TILE_GRID = 56, 7, 4
TILE = {"height": TILE_PX, "width": TILE_PX}
QWEN_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}


def _llava_onevision() -> tuple[Any, Any]:
    tokenizer = word_tokenizer({"image_token": "<image>", "video_token": "<video>"}, adds_bos=False)
    side = {"height": ANYRES_PX, "width": ANYRES_PX}
    processor = transformers.LlavaOnevisionProcessor(
        transformers.LlavaOnevisionImageProcessor(size=side, **RATES, image_grid_pinpoints=ANYRES_PINPOINTS),
        tokenizer,
        transformers.LlavaOnevisionVideoProcessor(size=side),
        num_image_tokens=ANYRES_GRID**2,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>"),
    )
    config = transformers.LlavaOnevisionConfig(
        text_config=transformers.Qwen2Config(**TEXT, **token_ids(tokenizer)),
        vision_config=transformers.SiglipVisionConfig(
            **VISION, image_size=ANYRES_PX, patch_size=ANYRES_PATCH_PX, vision_use_head=False
        ),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=ANYRES_PINPOINTS,
    )
    return built(transformers.LlavaOnevisionForConditionalGeneration, config), processor


def _qwen(name: str, patch_px: int, vision: dict[str, Any], **text: Any) -> tuple[Any, Any]:
    tokenizer = word_tokenizer(QWEN_TOKENS, adds_bos=False)
    pixels = (2 * patch_px) ** 2
    video_class = transformers.Qwen3VLVideoProcessor if name == "Qwen3VL" else transformers.Qwen2VLVideoProcessor
    processor = getattr(transformers, f"{name}Processor")(
        transformers.Qwen2VLImageProcessor(
            size={"shortest_edge": 4 * pixels, "longest_edge": 48 * pixels}, patch_size=patch_px, **RATES
        ),
        tokenizer,
        video_class(),
        chat_template=chat_template("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    config = getattr(transformers, f"{name}Config")(
        text_config={
            **{key: value for key, value in TEXT.items() if key != "head_dim"},
            **token_ids(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]},
            **text,
        },
        vision_config={"depth": 2, "num_heads": 2, **vision},
        **{f"{token}_id": getattr(tokenizer, f"{token}_id") for token in QWEN_TOKENS},
    )
    return built(getattr(transformers, f"{name}ForConditionalGeneration"), config), processor


def _qwen2_vl() -> tuple[Any, Any]:
    return _qwen("Qwen2VL", 14, {"embed_dim": 32, "hidden_size": TEXT["hidden_size"], "mlp_ratio": 1})


def _qwen2_5_vl() -> tuple[Any, Any]:
    # One layer sees windows of 4 x 4 tokens, the other everything.
    vision = {"hidden_size": 32, "out_hidden_size": TEXT["hidden_size"], "intermediate_size": 32}
    return _qwen("Qwen2_5_VL", 14, {**vision, "fullatt_block_indexes": [1]})


def _qwen3_vl() -> tuple[Any, Any]:
    vision = {"hidden_size": 32, "out_hidden_size": TEXT["hidden_size"], "intermediate_size": 32}
    return _qwen(
        "Qwen3VL",
        16,
        {**vision, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        head_dim=TEXT["head_dim"],
    )


def _smolvlm() -> tuple[Any, Any]:
    tags = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    processor = transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(
            size={"longest_edge": 4 * TILE_PX}, max_image_size={"longest_edge": TILE_PX}, **RATES
        ),
        word_tokenizer(more=["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *tags]),
        transformers.SmolVLMVideoProcessor(size={"longest_edge": TILE_PX}, max_image_size={"longest_edge": TILE_PX}),
        image_seq_len=TILE_GRID**2,
        chat_template=chat_template("<image>"),
    )
    config = transformers.SmolVLMConfig(
        text_config=transformers.LlamaConfig(**TEXT, **token_ids(processor.tokenizer)),
        vision_config={**VISION, "image_size": TILE_PX, "patch_size": TILE_PATCH_PX},
        image_token_id=processor.image_token_id,
        scale_factor=2,
    )
    return built(transformers.SmolVLMForConditionalGeneration, config), processor


def _internvl() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        adds_bos=False,
    )
    processor = transformers.InternVLProcessor(
        transformers.GotOcr2ImageProcessor(size=TILE, **RATES),
        tokenizer,
        transformers.InternVLVideoProcessor(size=TILE),
        image_seq_length=TILE_GRID**2,
        chat_template=chat_template("<IMG_CONTEXT>"),
    )
    config = transformers.InternVLConfig(
        text_config=transformers.Qwen2Config(**TEXT, **token_ids(tokenizer)),
        vision_config={**VISION, "image_size": TILE_PX, "patch_size": TILE_PATCH_PX},
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=TILE_GRID**2,
    )
    return built(transformers.InternVLForConditionalGeneration, config), processor


BUILDERS: dict[str, Builder] = {
    "llava_onevision": _llava_onevision,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "smolvlm": _smolvlm,
    "internvl": _internvl,
}
