"""A BERT tokenizer over letters, with the ids that are written into GroundingDINO's code."""

from __future__ import annotations

import string

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import PreTrainedTokenizerFast

SPECIALS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
WORDS = ("a", "cat", "dog", "red", "star", "##s", "two", "man", "wo", "##man", "猫", "ᄒ", "##ᅡ", "##ᆫ")


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Lower-cases, strips accents and control characters, and parts Chinese characters, as BERT's uncased models do."""
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
