"""Models with random weights at real shapes, for benchmarks without a network: what they compute means nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoProcessor,
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    SamConfig,
    SamImageProcessorPil,
    SamModel,
    SwinConfig,
)
from transformers.utils import logging as transformers_logging

from datasetkit.annotation.captioners.image_text_to_text import ImageTextToTextCaptioner
from datasetkit.annotation.detectors.grounding_dino import GroundingDinoDetector
from datasetkit.annotation.segmenters.sam import SamSegmenter
from datasetkit.core.detections import Caption, Detections, Query
from datasetkit.options.models import GroundingDinoOptions, ImageTextToTextOptions, SamOptions
from datasetkit.runtime.loading import load_processor
from tests.hi_scoring.tiny_parts import chat_template, token_ids, word_tokenizer

_NEW_TOKENS = 64
_TILE_PX, _PATCH_PX, _SCALE = 512, 16, 4


class _Captioner(ImageTextToTextCaptioner):
    """Writes as many tokens as a caption has, and returns a given one."""

    text = ""

    def forward(self, prepared: Sequence[Any], *_: Any) -> list[Caption]:
        return [Caption(self.text) for _ in super().forward(prepared)]


class _Detector(GroundingDinoDetector):
    """Runs the model, and returns given boxes."""

    found_in: Callable[[Image.Image, Query], Detections]

    def forward(self, prepared: Sequence[Any], *asked: Any) -> list[Any]:
        super().forward(prepared)
        return [type(self).found_in(*pair) for pair in zip(*asked, strict=True)]


def random_models(
    device: str, dtype: str, text: str, found_in: Callable[[Image.Image, Query], Detections]
) -> tuple[_Captioner, _Detector, SamSegmenter]:
    """Return a captioner as SmolVLM-256M, Grounding DINO tiny, and SAM ViT-B.

    Args:
        device: torch device.
        dtype: of weights and activations.
        text: what the captioner returns.
        found_in: what the detector returns.

    """
    torch.manual_seed(0)
    transformers_logging.disable_progress_bar()
    _Captioner.text = text
    _Detector.found_in = staticmethod(found_in)
    where = {"device": device, "dtype": dtype}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return (
            _Captioner(
                ImageTextToTextOptions(model=_save_captioner(folder / "captioner"), max_new_tokens=_NEW_TOKENS), **where
            ),
            _Detector(GroundingDinoOptions(model=_save_detector(folder / "detector")), **where),
            SamSegmenter(SamOptions(model=_save_segmenter(folder / "segmenter")), **where),
        )


def _save_captioner(folder: Path) -> str:
    tags = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = word_tokenizer(
        more=["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *tags]
    )
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(size={"longest_edge": 4 * _TILE_PX}, max_image_size={"longest_edge": _TILE_PX}),
        tokenizer,
        image_seq_len=(_TILE_PX // _PATCH_PX // _SCALE) ** 2,
        chat_template=chat_template("<image>"),
    )
    text = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        **{**token_ids(tokenizer), "vocab_size": 49280},
    )
    vision = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": _TILE_PX,
        "patch_size": _PATCH_PX,
    }
    config = Idefics3Config(
        text_config=text, vision_config=vision, image_token_id=processor.image_token_id, scale_factor=_SCALE
    )
    model = Idefics3ForConditionalGeneration(config)
    # No caption ends early.
    model.generation_config.suppress_tokens = [token_ids(tokenizer)["eos_token_id"]]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def _save_detector(folder: Path) -> str:
    backbone = SwinConfig(
        image_size=224,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_indices=[2, 3, 4],
    )
    config = GroundingDinoConfig(backbone_config=backbone, text_config=BertConfig())
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = load_processor(AutoProcessor, "toyworld:detector", None).tokenizer
    GroundingDinoProcessor(GroundingDinoImageProcessorPil(), tokenizer).save_pretrained(folder)
    return str(folder)


def _save_segmenter(folder: Path) -> str:
    SamModel(SamConfig()).save_pretrained(folder)
    SamImageProcessorPil().save_pretrained(folder)
    return str(folder)
