"""Tokenizers over toyworld's closed vocabulary. Owns the ids of words.

Every word of both domains is in the vocabulary: the shifted domain only assigns other meanings to words.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from datasetkit.toyworld.domain import DOMAINS

# transformers' GroundingDINO separates phrases by BERT's ids of these tokens, which are hard-coded.
_DETECTOR_SPECIALS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
_DETECTOR_VOCABULARY = 1030
_WORD = re.compile(r"\w+|[^\w\s]")
_SLOT = re.compile(r"\{\w+\}")


def words_of(value: object) -> Iterator[str]:
    """Return all lower-case words and signs in texts of a domain, with templates without their slots."""
    if isinstance(value, str):
        yield from _WORD.findall(_SLOT.sub(" ", value).lower())
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from words_of(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from words_of(getattr(value, field.name))
    elif isinstance(value, Iterable):
        for item in value:
            yield from words_of(item)


def domain_words() -> tuple[str, ...]:
    """Return all words of all domains, sorted."""
    words = {
        word
        for domain in DOMAINS.values()
        for part in (domain.vocabulary, domain.captions, domain.questions)
        for word in words_of(part)
    }
    return tuple(sorted(words | {"a", "an", "the", "it", "they", "is", "are"}))


def detector_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer with BERT's special ids, the words between them, and unused entries up to 1029."""
    vocabulary = dict(_DETECTOR_SPECIALS)
    free = (number for number in range(1, _DETECTOR_VOCABULARY) if number not in _DETECTOR_SPECIALS.values())
    for word in domain_words():
        if word not in vocabulary:
            vocabulary[word] = next(free)
    vocabulary |= {f"[unused{number}]": number for number in free}
    tokenizer = _word_tokenizer(vocabulary, "[UNK]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",  # noqa: S106 - a token of text
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        model_max_length=64,
    )


def vlm_tokenizer(prompt_words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return the tokenizer with special tokens, and the words of the domains and of the chat template."""
    specials = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
    words = sorted({*domain_words(), *prompt_words})
    vocabulary = {word: number for number, word in enumerate((*specials, *words))}
    tokenizer = _word_tokenizer(vocabulary, "<unk>")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106 - a token of text
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        additional_special_tokens=["<image>"],
        padding_side="left",
        model_max_length=256,
    )


def _word_tokenizer(vocabulary: dict[str, int], unknown: str) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The decoder sets no space before a full stop or comma.
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return tokenizer
