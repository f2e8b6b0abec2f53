from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from datasetkit.annotation.detectors.prompts import close_prompt, split_query
from datasetkit.annotation.detectors.spans import span_scores, span_tokens
from datasetkit.annotation.detectors.tokens import encode_prompt, pad_right, readable, text_offsets
from datasetkit.core.detections import Query
from datasetkit.runtime.checkpoints import resolve
from tests.annotation.detectors.tiny import bert_tokenizer

TOKEN_SCORES = np.array([[0.1, 0.2, 0.4, 0.9, 0.6], [0.5, 0.0, 1.0, 0.3, 0.3]])
OFFSETS = [(0, 0), (0, 3), (3, 4), (5, 8), (0, 0)]


@functools.cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    return bert_tokenizer() if name == "letters" else AutoTokenizer.from_pretrained(resolve("toyworld:detector"))


both = pytest.mark.parametrize("name", ["letters", "toyworld"])


@pytest.mark.parametrize(
    ("span", "tokens", "mean", "highest"),
    [
        ((0, 3), [1], [0.2, 0.0], [0.2, 0.0]),
        ((0, 4), [1, 2], [0.3, 0.5], [0.4, 1.0]),
        ((3, 6), [2, 3], [0.65, 0.65], [0.9, 1.0]),
        ((4, 5), [], [0.0, 0.0], [0.0, 0.0]),
        ((0, 8), [1, 2, 3], [0.5, 1.3 / 3], [0.9, 1.0]),
    ],
)
def test_phrase_score_reduces_its_tokens(
    span: tuple[int, int], tokens: list[int], mean: list[float], highest: list[float]
) -> None:
    own = span_tokens(OFFSETS, [span])
    assert np.flatnonzero(own[0]).tolist() == tokens
    assert span_scores(TOKEN_SCORES, own, "mean")[:, 0].tolist() == pytest.approx(mean)
    assert span_scores(TOKEN_SCORES, own, "max")[:, 0].tolist() == highest


def test_tokens_without_characters_belong_to_no_phrase() -> None:
    assert not span_tokens([(2, 2), (0, 0)], [(0, 5)]).any()
    assert span_tokens([], [(0, 5)]).shape == (1, 0)
    assert span_scores(TOKEN_SCORES, span_tokens(OFFSETS, []), "mean").shape == (2, 0)


anything = st.text(min_size=1, max_size=30).filter(str.strip)
tricky = "acdgmnorstw #é猫한İßﬁ\u0301\u200b\x00.?!-\U0001f600\ud800"
wordlike = st.text(alphabet=tricky, min_size=1, max_size=30).filter(str.strip)


@both
@given(texts=st.lists(anything | wordlike, max_size=100))
@example(texts=["man", "woman", "##man", "[SEP]", "\x00", "İstanbul", "한", "ﬁ", "\ud83d\ude00", "e\u0301", "\u0301"])
def test_phrase_in_a_list_has_its_own_tokens(name: str, texts: list[str]) -> None:
    query = Query.of_phrases(texts)
    assert query.phrases == tuple(texts)
    encoded = encode_prompt(tokenizer(name), close_prompt(query.text))
    tokens = span_tokens(encoded.offsets, query.spans)
    assert (tokens.sum(axis=0) <= 1).all()
    for own, text in zip(tokens, texts, strict=True):
        alone = encode_prompt(tokenizer(name), text).arrays["input_ids"].tolist()
        assert encoded.arrays["input_ids"][own].tolist() == alone[1:-1]


@both
@given(data=st.data(), text=anything | wordlike)
def test_caption_tokens_match_character_by_character(name: str, data: st.DataObject, text: str) -> None:
    borders = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    spans = [(start, end) for start, end in zip(borders[::2], borders[1::2], strict=False) if text[start:end].strip()]
    query = Query(text, tuple(spans))
    encoded = encode_prompt(tokenizer(name), close_prompt(text))
    tokens = span_tokens(encoded.offsets, query.spans)
    for (start, end), own in zip(spans, tokens, strict=True):
        for (first, last), number, is_own in zip(
            encoded.offsets, encoded.arrays["input_ids"].tolist(), own, strict=True
        ):
            shared = {*range(first, last)} & {*range(start, end)}
            assert is_own == bool(shared)
            assert not (is_own and number in (0, 101, 102))


@both
@given(texts=st.lists(anything | wordlike, min_size=1, max_size=20), limit=st.integers(4, 30))
def test_split_prompts_fit_by_the_model_count(name: str, texts: list[str], limit: int) -> None:
    query = Query.of_phrases(texts)
    found = split_query(query, functools.partial(text_offsets, tokenizer(name)), limit - 2)
    for part in found.parts:
        assert len(encode_prompt(tokenizer(name), part.query.text).offsets) <= limit


def test_special_tokens_in_a_text_are_words() -> None:
    encoded = encode_prompt(tokenizer("letters"), "[SEP] .")
    assert encoded.arrays["input_ids"].tolist()[1:-2].count(102) == 0


@both
@given(texts=st.lists(anything | wordlike, min_size=1, max_size=5))
def test_padded_texts_equal_the_tokenizer_batch(name: str, texts: list[str]) -> None:
    ours = pad_right([encode_prompt(tokenizer(name), text) for text in texts])
    theirs = tokenizer(name)(
        [readable(text) for text in texts],
        padding=True,
        padding_side="right",
        return_token_type_ids=True,
        split_special_tokens=True,
        return_tensors="pt",
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_phrase_dropped_by_the_tokenizer_has_no_tokens() -> None:
    query = Query.of_phrases(["cat", "\x00\u200b", "\ud800", "dog"])
    encoded = encode_prompt(tokenizer("letters"), query.text)
    assert span_tokens(encoded.offsets, query.spans).sum(axis=1).tolist() == [1, 0, 0, 1]
