"""Sets of positions, found by hand: words of the prompt by their tokens, key objects by the grid of image tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaImageProcessorPil

from datasetkit.core.errors import ModelError, RecipeError
from datasetkit.core.mask import Mask
from datasetkit.hi_scoring.interventions.positions import Flow
from datasetkit.options.head_forms import FLOW_NAMES
from tests.hi_scoring.interventions.asking import LONG, SHORT, put, question
from tests.hi_scoring.tiny_models import CROP, family_params, llava_processor, tiny
from tests.hi_scoring.tiny_parts import RATES, TinyFamily

# The last token of a prompt: that of the chat template, or the line end after PaliGemma's prefix.
LAST = {"paligemma": "\n", "paligemma2": "\n"}


@pytest.mark.parametrize("name", family_params())
def test_sets_are_found_in_padded_rows(name: str) -> None:
    family = tiny(name)
    batch = put(family, question(LONG), question(SHORT, 1))
    assert (batch.inputs["attention_mask"][1] == 0).any()
    for text, ids, places in zip((LONG, SHORT), batch.inputs["input_ids"], batch.places, strict=True):

        def words(places=places, ids=ids, name=""):
            return family.processor.tokenizer.convert_ids_to_tokens(ids[places[name]].tolist())

        assert words(name="question") == text.replace("?", " ?").split()
        assert words(name="options") == ["red", ",", "blue"]
        assert words(name="last") == [LAST.get(name, ":")]
        assert places["last"].tolist() == [batch.length - 1]
        image = ids == family.model.config.image_token_id
        assert places["image"].tolist() == image.nonzero()[:, 0].tolist()


def square(left: int, top: int, right: int, bottom: int) -> tuple[Mask, ...]:
    mask = np.zeros((84, 84), bool)
    mask[top:bottom, left:right] = True
    return (Mask.from_array(mask),)


# The tiny LLaVA sees 84 x 84 px as 6 x 6 tokens of 14 px.
OBJECTS = {
    "one token": (square(14, 28, 28, 42), [2 * 6 + 1]),
    "half of a token": (square(14, 28, 21, 42), [2 * 6 + 1]),
    "two tokens, a third by less than half": (square(0, 0, 34, 14), [0, 1]),
    "less than half of two, more of the second": (square(10, 0, 19, 14), [1]),
    "two objects that cover one token together": (square(0, 0, 4, 14) + square(4, 0, 8, 14), [0]),
    "a small object beside a large one": (square(0, 0, 28, 14) + square(60, 60, 64, 64), [0, 1, 4 * 6 + 4]),
}


@pytest.mark.parametrize(("masks", "expected"), OBJECTS.values(), ids=OBJECTS)
def test_key_objects_are_half_or_best_covered_tokens(masks, expected) -> None:
    [places] = put(tiny("llava"), question(masks=masks)).places
    numbers = {
        name: (places[name] - places["image"][0]).tolist() for name in ("key object", "image without key object")
    }
    assert numbers["key object"] == expected
    assert numbers["image without key object"] == sorted(set(range(36)) - set(expected))


def test_key_object_has_tokens_in_every_view() -> None:
    """The tiny LLaVA-NeXT: 36 tokens of the whole image, then rows of tiles, each of which ends in a newline."""
    family = tiny("llava_next")
    [places] = put(family, question(masks=square(14, 28, 28, 42))).places
    key, others, image = (places[name] for name in ("key object", "image without key object", "image"))
    whole = key[key < image[36]]
    assert (whole - image[0]).tolist() == [2 * 6 + 1]
    assert len(key) > len(whole)
    newlines = sorted(set(image.tolist()) - set(key.tolist()) - set(others.tolist()))
    rows = len(newlines)
    assert rows > 1
    assert (image[-1] - image[36] + 1) % rows == 0
    assert newlines[-1] == image[-1]


def test_padding_of_the_image_is_in_neither_set() -> None:
    """Padded to a square, an image of 42 x 84 px is seen by four of the six rows of tokens, two of them half."""
    family = tiny("llava")
    processor = llava_processor(LlavaImageProcessorPil(**CROP, **RATES, do_pad=True))
    image = Image.fromarray(np.zeros((42, 84, 3), np.uint8))
    masks = (Mask.from_array(np.eye(42, 84, dtype=bool)),)
    [places] = put(TinyFamily("llava", family.model, processor), question(masks=masks), images=[image]).places
    assert len(places["image"]) == 36
    shown = torch.cat([places["key object"], places["image without key object"]]) - places["image"][0]
    assert shown.sort().values.tolist() == list(range(6, 30))


def test_missing_sets_are_left_out() -> None:
    family = tiny("llava")
    [places] = put(family, question(masks=(), template="{question}")).places
    assert set(places) == {"image", "question", "last"}
    # Tokens see only the centre crop of the image, not its ends.
    wide = Image.fromarray(np.zeros((84, 252, 3), np.uint8))
    mask = np.zeros((84, 252), bool)
    mask[:, :20] = True
    [places] = put(family, question(masks=(Mask.from_array(mask),)), images=[wide]).places
    assert set(places) == {"image", "question", "options", "last"}


@pytest.mark.parametrize("template", ["  {question} {options} ", "({question}){options}."], ids=["blanks", "no blanks"])
def test_text_around_question_and_options_is_in_neither(template: str) -> None:
    [places] = put(tiny("llava"), question(template=template)).places
    assert (len(places["question"]), len(places["options"])) == (len(LONG.split()), 3)


def test_a_template_that_rewrites_texts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    family = tiny("llava")
    template = family.processor.chat_template.replace("part['text']", "part['text'] | upper")
    monkeypatch.setattr(family.processor, "chat_template", template)
    with pytest.raises(ModelError, match="the chat template does not copy 'what colour"):
        put(family, question())


@pytest.mark.parametrize("text", ["image->last", " key object ->question ", "image without key object -> question"])
def test_flows_are_parsed_by_name(text: str) -> None:
    assert Flow.of(text).name in FLOW_NAMES
    assert Flow.of(Flow.of(text).name) == Flow.of(text)


@pytest.mark.parametrize("text", ["image", "image->", "picture->last", "image->last->last", ""])
def test_invalid_flow_lists_known_sets(text: str) -> None:
    with pytest.raises(RecipeError, match="give SOURCE->TARGET, each of image, key object, "):
        Flow.of(text)
