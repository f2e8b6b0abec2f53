"""One segmenter of each kind: the shipped SAM, and tiny ones of the other architectures with random weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Sam2Config,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
    SamHQConfig,
    SamHQMaskDecoderConfig,
    SamHQModel,
    SamHQPromptEncoderConfig,
    SamHQVisionConfig,
    SamImageProcessorPil,
)

from datasetkit.annotation.segmenters.sam import SamSegmenter
from datasetkit.annotation.segmenters.sam2 import Sam2Segmenter
from datasetkit.annotation.segmenters.segment_anything import SegmentAnythingSegmenter
from datasetkit.options.models import Sam2Options, SamOptions, SegmentAnythingOptions
from datasetkit.toyworld.scenes import Split
from tools.toyworld.evaluation.recipe import EvaluationRecipe, Example

SIDE_PX, PATCH_PX, WIDTH = 64, 8, 32


@dataclass(frozen=True)
class Kind:
    """How to make a segmenter, and which of its modules are counted and broken."""

    make: Callable[..., Any]
    encoder: str
    decoder: str


@pytest.fixture(scope="session")
def scenes() -> list[Example]:
    return list(EvaluationRecipe.load().limited(5).examples(Split.TEST))


@pytest.fixture(scope="session")
def image_processor() -> SamImageProcessorPil:
    square = {"height": SIDE_PX, "width": SIDE_PX}
    return SamImageProcessorPil(size={"longest_edge": SIDE_PX}, pad_size=square)


@pytest.fixture(scope="session")
def sam_hq(tmp_path_factory: pytest.TempPathFactory, image_processor: SamImageProcessorPil) -> Path:
    folder = tmp_path_factory.mktemp("sam_hq")
    torch.manual_seed(0)
    places = {"image_size": SIDE_PX, "patch_size": PATCH_PX}
    config = SamHQConfig(
        vision_config=SamHQVisionConfig(
            hidden_size=WIDTH,
            output_channels=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            mlp_dim=WIDTH,
            window_size=3,
            global_attn_indexes=[0, 1],
            num_pos_feats=WIDTH // 2,
            initializer_range=0.02,
            **places,
        ),
        prompt_encoder_config=SamHQPromptEncoderConfig(hidden_size=WIDTH, mask_input_channels=8, **places),
        mask_decoder_config=SamHQMaskDecoderConfig(
            hidden_size=WIDTH, mlp_dim=WIDTH, num_attention_heads=2, iou_head_hidden_dim=WIDTH, vit_dim=WIDTH
        ),
    )
    _spread(SamHQModel(config)).save_pretrained(folder)
    image_processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not importlib.util.find_spec("torchvision"):
        pytest.skip("sam2 needs torchvision")
    from transformers import Sam2ImageProcessor, Sam2Processor

    folder = tmp_path_factory.mktemp("sam2")
    torch.manual_seed(0)
    widths = [8, 16, 32, 64]
    sides = [SIDE_PX // 4, SIDE_PX // 8, SIDE_PX // 16]
    config = Sam2Config(
        vision_config=Sam2VisionConfig(
            backbone_config={
                "model_type": "sam2_hiera_det_model",
                "image_size": [SIDE_PX, SIDE_PX],
                "hidden_size": widths[0],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": widths,
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [4, 4, 4, 2],
                "global_attention_blocks": [3],
            },
            backbone_channel_list=widths[::-1],
            backbone_feature_sizes=[[side, side] for side in sides],
            fpn_hidden_size=WIDTH,
        ),
        prompt_encoder_config=Sam2PromptEncoderConfig(
            hidden_size=WIDTH, image_size=SIDE_PX, patch_size=16, mask_input_channels=8
        ),
        mask_decoder_config=Sam2MaskDecoderConfig(
            hidden_size=WIDTH, mlp_dim=WIDTH, num_attention_heads=2, iou_head_hidden_dim=WIDTH
        ),
    )
    _spread(Sam2Model(config)).save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX})).save_pretrained(folder)
    return folder


def _spread(model: Any) -> Any:
    """Set random weights that spread the mask logits over several units, as training does."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 1.5 / fan_in**0.5)
    return model


def _tiny_original(checkpoint: None = None) -> torch.nn.Module:
    """Build the package's classes at the smallest size, combined as by its builders."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    grid = SIDE_PX // PATCH_PX
    return Sam(
        image_encoder=ImageEncoderViT(
            depth=2,
            embed_dim=WIDTH,
            img_size=SIDE_PX,
            mlp_ratio=4,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2,
            patch_size=PATCH_PX,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=[1],
            window_size=3,
            out_chans=WIDTH,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=WIDTH, image_embedding_size=(grid, grid), input_image_size=(SIDE_PX, SIDE_PX), mask_in_chans=16
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, mlp_dim=WIDTH, num_heads=2),
            transformer_dim=WIDTH,
            iou_head_depth=3,
            iou_head_hidden_dim=WIDTH,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a checkpoint of the original package, whose registry has its tiny architecture as ``vit_b``."""
    for package in ("torchvision", "segment_anything"):
        if not importlib.util.find_spec(package):
            pytest.skip(f"segment-anything needs {package}")
    from segment_anything import sam_model_registry

    sam_model_registry["vit_b"] = _tiny_original
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("original") / "tiny.pth"
    torch.save(_spread(_tiny_original()).state_dict(), path)
    return path


@pytest.fixture(scope="session", params=["sam", "sam_hq", "sam2", "segment_anything"])
def kind(request: pytest.FixtureRequest) -> Kind:
    match request.param:
        case "sam":
            return Kind(partial(SamSegmenter, SamOptions(model="toyworld:segmenter")), "vision_encoder", "mask_decoder")
        case "sam_hq":
            sam_hq = SamOptions(model=str(request.getfixturevalue("sam_hq")))
            return Kind(partial(SamSegmenter, sam_hq), "vision_encoder", "mask_decoder")
        case "sam2":
            sam2 = Sam2Options(model=str(request.getfixturevalue("sam2")))
            return Kind(partial(Sam2Segmenter, sam2), "vision_encoder", "mask_decoder")
    original = SegmentAnythingOptions(weights=request.getfixturevalue("original"))
    return Kind(partial(SegmentAnythingSegmenter, original), "image_encoder", "mask_decoder")
