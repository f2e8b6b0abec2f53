"""The segmenter: SAM with a small encoder of 16x16 patches. Owns its configuration and its processor."""

from __future__ import annotations

from transformers import (
    SamConfig,
    SamImageProcessorPil,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

SIDE_PX = 128
PATCH_PX = 8
_WIDTH = 96
_CHANNELS = 64


def segmenter_processor() -> SamProcessor:
    """Return the processor: images to 128 px at the longer side, padded to a square."""
    square = {"height": SIDE_PX, "width": SIDE_PX}
    mask = SIDE_PX // 4
    return SamProcessor(
        image_processor=SamImageProcessorPil(
            size={"longest_edge": SIDE_PX},
            pad_size=square,
            mask_size={"longest_edge": mask},
            mask_pad_size={"height": mask, "width": mask},
        )
    )


def segmenter_config() -> SamConfig:
    """Return the architecture, with two defaults changed that prevent learning from scratch."""
    vision = SamVisionConfig(
        hidden_size=_WIDTH,
        output_channels=_CHANNELS,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE_PX,
        patch_size=PATCH_PX,
        mlp_dim=2 * _WIDTH,
        window_size=0,
        global_attn_indexes=[0, 1, 2, 3],
        use_rel_pos=False,
        num_pos_feats=_CHANNELS // 2,
        initializer_range=0.02,
    )
    # The default, half the hidden size, yields random frequencies that are far too high for 16x16 positions.
    vision.scale = 1.0
    return SamConfig(
        vision_config=vision,
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=_CHANNELS, image_size=SIDE_PX, patch_size=PATCH_PX, mask_input_channels=8
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=_CHANNELS,
            mlp_dim=2 * _CHANNELS,
            num_hidden_layers=2,
            num_attention_heads=4,
            iou_head_depth=2,
            iou_head_hidden_dim=_CHANNELS,
        ),
        initializer_range=0.02,
    )


def build_segmenter() -> SamModel:
    """Return a model with new weights from torch's current seed."""
    return SamModel(segmenter_config())
