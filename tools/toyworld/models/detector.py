"""The detector: GroundingDINO with a small Swin and BERT. Owns its configuration, processor and prompts."""

from __future__ import annotations

import torch
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    SwinConfig,
)

from tools.toyworld.models.tokenizers import detector_tokenizer

SIDE_PX = 128
BACKBONE_CHANNELS = (96, 192)
_WIDTH = 96
_TEXT_WIDTH = 64
_MAX_TEXT = 64
# Logits are dot products of features, which would start a hundred times too large at this size.
_TEXT_SCALE = 0.1


def detector_processor() -> GroundingDinoProcessor:
    """Return the processor: images to 128x128 px, texts to words."""
    return GroundingDinoProcessor(
        image_processor=GroundingDinoImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}, do_pad=False),
        tokenizer=detector_tokenizer(),
    )


def detector_config(vocabulary: int) -> GroundingDinoConfig:
    """Return the architecture."""
    backbone = SwinConfig(  # type: ignore[call-arg]
        image_size=SIDE_PX,
        patch_size=4,
        embed_dim=48,
        depths=[2, 2, 2],
        num_heads=[2, 4, 8],
        window_size=4,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
        out_features=["stage2", "stage3"],
    )
    text = BertConfig(
        vocab_size=vocabulary,
        hidden_size=_TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * _TEXT_WIDTH,
        max_position_embeddings=_MAX_TEXT,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=_WIDTH,
        num_queries=20,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=2 * _WIDTH,
        decoder_ffn_dim=2 * _WIDTH,
        encoder_n_points=4,
        decoder_n_points=4,
        num_feature_levels=3,
        max_text_len=_MAX_TEXT,
        dropout=0.0,
        fusion_droppath=0.0,
        fusion_dropout=0.0,
        two_stage=True,
    )


def build_detector(processor: GroundingDinoProcessor) -> GroundingDinoForObjectDetection:
    """Return a model with new weights from torch's current seed, at a suitable scale of logits."""
    model = GroundingDinoForObjectDetection(detector_config(len(processor.tokenizer)))
    with torch.no_grad():
        model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after.weight.mul_(_TEXT_SCALE)
    return model


def prompt_of(phrases: list[str]) -> str:
    """Join phrases into a prompt; each ends with a full stop, including the last."""
    return " ".join(f"{phrase} ." for phrase in phrases)


def phrase_map(input_ids: torch.Tensor, stop_id: int, phrases: int) -> torch.Tensor:
    """Return which tokens belong to which phrase of a prompt.

    Args:
        input_ids: one prompt with its special tokens, shape (T,).
        stop_id: id of the full stop.
        phrases: number of phrases.

    Returns:
        Shape (phrases, T), dtype bool.

    """
    stops = input_ids == stop_id
    number = torch.cumsum(stops, 0) - stops.long()
    inside = ~stops
    inside[0] = False
    return (number[None] == torch.arange(phrases, device=input_ids.device)[:, None]) & inside
