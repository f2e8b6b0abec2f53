"""The end of a model's turn, in the forms of real templates, and where a response and its end are, in every family."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from PIL import Image

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.hi_scoring.model.dialogue import Dialogue
from tests.hi_scoring.images import sample
from tests.hi_scoring.tiny_models import family_params, tiny

every_family = pytest.mark.parametrize("name", family_params())
SAID = ("a red square above a blue circle", "yes")
ASKED = ("describe the image", "is the circle blue ?")
# The text of templates after an answer, and the part of it that ends the turn.
ENDS = [
    ("<end>\n", "<end>"),
    ("</s>", "</s>"),
    (" \n<end>", "<end>"),
    ("<end></s>", "<end>"),
    ("\n", "</s>"),
    (" . user: ", "</s>"),
]


def with_end(name: str, end: str, *specials: str) -> Dialogue:
    """A family's dialogue with a template that adds text after each answer."""
    processor = copy.deepcopy(tiny(name).processor)
    processor.tokenizer.add_special_tokens(
        {"extra_special_tokens": ["<end>", *specials]}, replace_extra_special_tokens=False
    )
    written = "{% if message['role'] == 'assistant' %}" + end.replace("\n", "{{ '\n' }}") + "{% endif %}"
    body, _, last = processor.chat_template.rpartition("{{ '\n' }}{% endfor %}")
    processor.chat_template = f"{body}{{% endfor %}}{written}{last}"
    return Dialogue(processor, tiny(name).model.config)


def images(count: int) -> list[Image.Image]:
    return [sample(number).image for number in range(count)]


@every_family
def test_turn_without_template_end_ends_like_a_text(name: str) -> None:
    one = tiny(name)
    sets_it_itself = one.model.config.model_type == "paligemma"
    assert Dialogue(one.processor, one.model.config).closing == ("" if sets_it_itself else "</s>")


@pytest.mark.parametrize(("end", "closing"), ENDS, ids=repr)
@pytest.mark.parametrize("name", [one for one in family_params() if "paligemma" not in one.values[0]])
def test_turn_ends_with_first_special_token(name: str, end: str, closing: str) -> None:
    assert with_end(name, end).closing == closing


def test_written_special_token_ends_a_turn() -> None:
    assert with_end("llava", "<end>\n", "<end").closing == "<end>"


@every_family
def test_target_is_the_response_and_its_end(name: str) -> None:
    one = tiny(name)
    check_targets(Dialogue(one.processor, one.model.config), one.processor.tokenizer, "</s>")


@pytest.mark.parametrize("name", [one for one in family_params() if "paligemma" not in one.values[0]])
def test_target_includes_the_templates_end_only(name: str) -> None:
    dialogue = with_end(name, "<end>\n")
    check_targets(dialogue, dialogue._processor.tokenizer, "<end>")


def check_targets(dialogue: Dialogue, tokenizer: Any, end: str) -> None:
    prompts = [dialogue.prompt(text) for text in ASKED]
    inputs = dialogue.encode(images(2), prompts, [text + dialogue.closing for text in SAID])
    for ids, prompt, text in zip(inputs["input_ids"], prompts, SAID, strict=True):
        slots = dialogue.target(ids, prompt, text)
        assert tokenizer.convert_ids_to_tokens(ids[slots].tolist()) == [*text.split(), end]
        assert int(slots[-1]) == len(ids) - 1
    assert inputs["attention_mask"][1, 0] == 0


def test_prompts_are_rendered_once() -> None:
    dialogue = Dialogue(tiny("llava").processor, tiny("llava").model.config)
    assert dialogue.prompt("what colour ?") is dialogue.prompt("what colour ?")


@pytest.mark.parametrize(("words", "fits"), [(4096, False), (4096 - 36, False), (4096 - 36 - 20, True)])
def test_turn_length_includes_surrounding_tokens(words: int, fits: bool) -> None:
    """The tiny LLaVA accepts 4096 tokens; an image has 36. Prompt, template and end add about ten."""
    dialogue = Dialogue(tiny("llava").processor, tiny("llava").model.config)
    image, response = sample().image, "red " * words
    prompt = dialogue.prompt("what colour ?")
    if fits:
        dialogue.check_turn(image, "what colour ?", response)
        assert len(dialogue.encode([image], [prompt], [response + dialogue.closing])["input_ids"][0]) > 4070
        return
    with pytest.raises(UnusableError) as error:
        dialogue.check_turn(image, "what colour ?", response)
    assert error.value.reason is DropReason.TEXT_TOO_LONG
    with pytest.raises(UnusableError, match="the model accepts at most 4096"):
        dialogue.encode([image], [prompt], [response + dialogue.closing])


def test_texts_that_fit_may_be_too_long_as_a_turn() -> None:
    dialogue = Dialogue(tiny("llava").processor, tiny("llava").model.config)
    image, response = sample().image, "red " * (4096 - 36 - 8)
    dialogue.check(image, "what colour ?", response)
    with pytest.raises(UnusableError, match="4099 tokens; the model accepts at most 4096"):
        dialogue.check_turn(image, "what colour ?", response)


@pytest.mark.parametrize("place", ["prompt", "response"])
def test_special_tokens_of_either_text_are_refused(place: str) -> None:
    dialogue = Dialogue(tiny("llava").processor, tiny("llava").model.config)
    texts = {"prompt": "what colour ?", "response": "red"} | {place: "a <image> b"}
    with pytest.raises(UnusableError, match="'<image>', a special token") as error:
        dialogue.check_turn(sample().image, **texts)
    assert error.value.reason is DropReason.SPECIAL_TOKEN
