"""Untrained checkpoints of the real architectures, and a BERT tokenizer over letters."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel, WordPiece
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
    Owlv2Processor,
    PreTrainedTokenizerFast,
    SwinConfig,
)

MAX_TEXT = 24
POSITIONS = 8
# The ids of [CLS], [SEP], full stop and question mark are hard-coded in GroundingDINO.

SPECIALS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
WORDS = ("a", "cat", "dog", "red", "star", "##s", "two", "man", "wo", "##man", "猫", "ᄒ", "##ᅡ", "##ᆫ")


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer that lower-cases, strips accents and splits Chinese characters, as BERT's uncased models do."""
    letters = string.ascii_lowercase + string.digits + "αβγσς"
    pieces = dict.fromkeys((*WORDS, *letters, *(f"##{letter}" for letter in letters), *"!,;:-'#[]()"))
    vocabulary = dict(SPECIALS)
    free = (number for number in range(1, 1030) if number not in SPECIALS.values())
    for piece in pieces:
        vocabulary[piece] = next(free)
    vocabulary |= {f"[unused{number}]": number for number in free}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def save_grounding_dino(folder: Path, architecture: str) -> Path:
    """Save a GroundingDINO or MM-GroundingDINO that reads 24 tokens and keeps the aspect ratio of images."""
    backbone = SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1, 1],
        num_heads=[2, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3"],
    )
    text = BertConfig(
        vocab_size=1030,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    kinds = {
        "grounding-dino": (GroundingDinoConfig, GroundingDinoForObjectDetection),
        "mm-grounding-dino": (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection),
    }
    config_class, model_class = kinds[architecture]
    config = config_class(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        num_queries=12,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_feature_levels=2,
        max_text_len=MAX_TEXT,
    )
    torch.manual_seed(0)
    model_class(config).save_pretrained(folder)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, bert_tokenizer()).save_pretrained(folder)
    return folder


def save_owlv2(folder: Path) -> Path:
    """Save an OWLv2 that reads 8 tokens and sees 4x4 patches."""
    words = ["!", "<bos>", "<unk>", *"abcdefg", "red", "star", "<eos>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[(word, vocabulary[word]) for word in ("<bos>", "<eos>")]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="!", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>"
    )
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": len(words) - 1}
    config = Owlv2Config(
        text_config={**tower, **special, "vocab_size": len(words), "max_position_embeddings": POSITIONS},
        vision_config={**tower, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )
    torch.manual_seed(0)
    model = Owlv2ForObjectDetection(config)
    # Untrained shift and scale hide the similarity of patch and phrase, so they are 0 and 4; and boxes have no area.
    with torch.no_grad():
        model.box_head.dense2.weight.mul_(0.1)
        for layer, value in ((model.class_head.logit_shift, 0.0), (model.class_head.logit_scale, 3.0)):
            layer.weight.zero_()
            layer.bias.fill_(value)
    model.save_pretrained(folder)
    images = Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    Owlv2Processor(image_processor=images, tokenizer=fast).save_pretrained(folder)
    return folder
