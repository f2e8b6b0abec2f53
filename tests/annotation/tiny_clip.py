"""Untrained CLIP, SigLIP and SigLIP 2 checkpoints that read eight tokens, and a tokenizer of words."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
)

POSITIONS = 8
SIDE_PX = 32
_WORDS = ["<pad>", "<bos>", "<unk>", "a", "red", "star", "cat", "dog", "<eos>"]


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(_WORDS)}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[(word, vocabulary[word]) for word in ("<bos>", "<eos>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>"
    )


def save_image_text_model(folder: Path, architecture: str) -> Path:
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": len(_WORDS) - 1}
    text = {**tower, **special, "vocab_size": len(_WORDS), "max_position_embeddings": POSITIONS}
    vision = {**tower, "image_size": SIDE_PX, "patch_size": 16}
    side = {"height": SIDE_PX, "width": SIDE_PX}
    torch.manual_seed(0)
    if architecture == "clip":
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
        CLIPProcessor(CLIPImageProcessorPil(size=side, crop_size=side), tokenizer()).save_pretrained(folder)
    elif architecture == "siglip":
        text = {**text, "projection_size": 16}
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
        SiglipProcessor(SiglipImageProcessorPil(size=side), tokenizer()).save_pretrained(folder)
    else:
        text, vision = {**text, "projection_size": 16}, {**tower, "patch_size": 16, "num_patches": 16}
        Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).save_pretrained(folder)
        Siglip2Processor(Siglip2ImageProcessorPil(patch_size=16, max_num_patches=16), tokenizer()).save_pretrained(
            folder
        )
    return folder
