"""The first tokens of answers, in all right spellings."""

import copy
from typing import Any

import pytest
from tokenizers import normalizers

from datasetkit.hi_scoring.model.dialogue import Dialogue
from tests.hi_scoring.tiny_models import tiny

WRITTEN = "what colour ? assistant:"


def processor_of(*replaced: tuple[str, str]) -> Any:
    """A case-sensitive tokenizer that maps some words to others; other capitalised words are unknown."""
    processor = copy.deepcopy(tiny("llava").processor)
    rules = [normalizers.Replace(one, other) for one, other in replaced]
    processor.tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(rules)
    return processor


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("red circle", ["red", "square"]),
        ("Red", ["square", "red"]),
        ("RED", ["ring", "red", "square"]),
        ("blue", ["blue"]),
        ("no", ["no", "star"]),
        # Nothing else is defined for it.
        ("Elephant", ["<unk>"]),
    ],
)
def test_right_spellings_have_each_token_once(answer: str, words: list[str]) -> None:
    processor = processor_of(("Red", "square"), ("RED", "ring"), ("No", "star"))
    found = Dialogue(processor, tiny("llava").model.config).first_tokens(WRITTEN, answer)
    assert processor.tokenizer.convert_ids_to_tokens(list(found)) == words


def test_text_without_tokens_has_no_first_token() -> None:
    dialogue = Dialogue(processor_of((".", "")), tiny("llava").model.config)
    assert dialogue.first_token(WRITTEN, "...") is None
    assert dialogue.first_tokens(WRITTEN, "...") == ()
