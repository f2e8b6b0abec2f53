"""Common parts of the tiny models of tests: words, a chat template, sizes, and attention that is not uniform."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tools.toyworld.models.tokenizers import domain_words, words_of

LAYERS, HEADS, KEY_VALUE_HEADS, HEAD_WIDTH = 4, 4, 2, 16
TEXT = {
    "hidden_size": HEADS * HEAD_WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_VALUE_HEADS,
    "head_dim": HEAD_WIDTH,
    "max_position_embeddings": 4096,
}
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
RATES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
PAD, BOS, EOS, UNKNOWN = SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
_PROMPTS = ("describe the image . image user assistant : system you are a helpful what colour answer yes no", "\n")


@dataclass(frozen=True)
class TinyFamily:
    """A model with random weights, in evaluation mode and float32, and the real processor for it."""

    name: str
    model: Any
    processor: Any


Builder = Callable[[], tuple[Any, Any]]


def word_tokenizer(
    specials: Mapping[str, str] | None = None, *, more: Sequence[str] = (), adds_bos: bool = True
) -> Any:
    """A tokenizer with one id for each word, sign and line end of toyworld's English, ignoring case.

    Args:
        specials: attribute of the tokenizer (``image_token``) to its special token.
        more: special tokens without an attribute.
        adds_bos: whether it adds ``<s>`` before each text, as most tokenizers do.

    """
    special = dict(specials or {})
    known = dict.fromkeys((*SPECIALS, *special.values(), *more, "\n", *domain_words(), *words_of(_PROMPTS)))
    vocabulary = {word: number for number, word in enumerate(known)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]|\n"), behavior="removed", invert=True)
    tokenizer.add_special_tokens([*SPECIALS, *special.values(), *more])
    start = f"{BOS} " if adds_bos else ""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start}$A", pair=f"{start}$A $B:1", special_tokens=[(BOS, vocabulary[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        extra_special_tokens=special,
        model_max_length=10**6,
    )


def chat_template(image: str, *, has_bos: bool = False) -> str:
    """A template whose turns name their role; ``image`` stands for an image."""
    return (
        ("{{ bos_token }}" if has_bos else "")
        + "{% for message in messages %}{{ message['role'] }}: "
        + "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
        + image
        + "{% else %}{{ part['text'] }}{% endif %}{{ '\n' }}{% endfor %}{% endfor %}"
        + "{% if add_generation_prompt %}assistant:{% endif %}"
    )


def token_ids(tokenizer: Any) -> dict[str, int]:
    """The token ids of a tokenizer that configurations of text models need."""
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def built(model_class: Any, config: Any) -> Any:
    """A model with the same weights each time, whose heads attend to a few keys instead of uniformly."""
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        model = model_class(config).eval()
        for layer in model.get_decoder().layers:
            attention = layer.self_attn
            if hasattr(attention, "q_norm"):
                # Normalised queries and keys: only the norms' weights sharpen. Gemma adds 1 to them.
                for norm in (attention.q_norm, attention.k_norm):
                    norm.weight.add_(1.0)
            else:
                attention.q_proj.weight.mul_(25)
                attention.k_proj.weight.mul_(25)
    return model
