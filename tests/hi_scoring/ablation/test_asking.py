"""Responses while heads are edited; the probability of the right answer equals that of a separate forward pass."""

import copy
from collections.abc import Sequence

import pytest
import torch
from tokenizers import normalizers

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.ablation.asking import Asker
from datasetkit.hi_scoring.ablation.editors import HeadEditor, ZeroHeads
from datasetkit.hi_scoring.ablation.vision import SeenImages
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.writing import write
from datasetkit.options.heads import WritingOptions
from tests.hi_scoring.ablation.asked import examples_of
from tests.hi_scoring.ablation.slow import ablated_logits
from tests.hi_scoring.attention.running import SHORT, batch_of, generate
from tests.hi_scoring.tiny_models import TinyFamily, family_params, tiny
from tests.hi_scoring.tiny_parts import HEAD_WIDTH
from tests.precision import TOLERANCE

HEADS = {2: (1, 2)}
WRITING = WritingOptions(caption_tokens=5, answer_tokens=2)


def asker_of(family: TinyFamily, examples: Examples) -> Asker:
    dialogue = Dialogue(family.processor, family.model.config)
    return Asker(family.model, dialogue, examples, SeenImages(family.model))


def state(family: TinyFamily) -> tuple[object, ...]:
    """Everything that could be left on a model; transformers leaves hooks on the first run."""
    model = family.model
    generate(family, batch_of(family, SHORT))
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    return model.get_decoder().config._attn_implementation, hooks, sorted(vars(model.base_model))


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", family_params("llava", "paligemma2", "gemma3", "qwen2_vl"))
def test_probability_is_that_of_the_first_answer_token(name: str) -> None:
    family = tiny(name)
    examples = examples_of(family)
    dialogue = Dialogue(family.processor, family.model.config)
    before = state(family)
    said = asker_of(family, examples).ask(lambda _: ZeroHeads(HEADS), WRITING, 3, lambda _: None)
    assert state(family) == before
    for example, one in zip(examples.items, said, strict=True):
        prompt = dialogue.prompt(example.prompt)
        images = [examples.image(example)]
        answered = dialogue.encode(images, [prompt], [example.response])["input_ids"][0]
        slots, _ = dialogue.response(answered, prompt, example.response)
        logits = ablated_logits(
            family,
            dialogue.encode(images, [prompt], None),
            HEADS,
            lambda _layer, _head, count: torch.zeros(count, HEAD_WIDTH),
        )[-1]
        assert one.probability == pytest.approx(logits.softmax(-1)[answered[slots[0]]].item(), rel=TOLERANCE)


def test_no_editor_leaves_responses_unchanged() -> None:
    family = tiny("llava")
    examples = examples_of(family, tasks=("caption", "vqa"))
    dialogue = Dialogue(family.processor, family.model.config)
    done: list[int] = []
    said = asker_of(family, examples).ask(None, WRITING, 3, done.append)
    for example, one in zip(examples.items, said, strict=True):
        most = 5 if example.task == "caption" else 2
        assert [one.text] == write(family.model, dialogue, [examples.image(example)], [example.prompt], most)
    assert done == [3, 4, 7, 8]


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
def test_probability_covers_all_right_spellings() -> None:
    """With a tokenizer in which Red is a separate word, and other capitalised words are unknown."""
    family = TinyFamily("llava", tiny("llava").model, copy.deepcopy(tiny("llava").processor))
    family.processor.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("Red", "square")
    examples = examples_of(family)
    assert [one.response for one in examples.items] == ["red", "no", "a circle", "red"]
    said = asker_of(family, examples).ask(None, WRITING, 4, lambda _: None)
    dialogue, vocabulary = Dialogue(family.processor, family.model.config), family.processor.tokenizer.get_vocab()
    for example, one, words in zip(examples.items, said, (("red", "square"), ("no",), ("a",)), strict=False):
        inputs = dialogue.encode([examples.image(example)], [dialogue.prompt(example.prompt)], None)
        with torch.no_grad():
            probabilities = family.model(**inputs).logits[0, -1].softmax(-1)
        assert one.probability == pytest.approx(
            sum(probabilities[vocabulary[word]].item() for word in words), rel=TOLERANCE
        )


def test_example_that_never_fits_ends_and_is_named() -> None:
    family = tiny("llava")
    examples = examples_of(family)
    before = state(family)
    asked: list[Sequence[int]] = []

    def editor_of(places: Sequence[int]) -> HeadEditor:
        asked.append(places)
        if 1 in places:
            raise torch.OutOfMemoryError
        return ZeroHeads({})

    with pytest.raises(
        ModelError, match=r"not enough memory for sample-1 alone, prompt 'is there a blue .* give shorter"
    ):
        asker_of(family, examples).ask(editor_of, WRITING, 4, lambda _: None)
    # The second half is tried again without the features of the first before it is halved.
    assert [len(places) for places in asked] == [4, 2, 2, 2, 1, 1]
    assert state(family) == before


def test_kept_features_are_freed_before_halving_a_batch() -> None:
    family = tiny("llava")
    examples = examples_of(family)
    dialogue, images = Dialogue(family.processor, family.model.config), SeenImages(family.model)
    asker = Asker(family.model, dialogue, examples, images)
    expected = asker.ask(None, WRITING, 2, lambda _: None)
    assert images._features
    asked: list[Sequence[int]] = []

    def editor_of(places: Sequence[int]) -> HeadEditor:
        """Run out of memory while any features are kept."""
        asked.append(places)
        if images._features:
            raise torch.OutOfMemoryError
        return ZeroHeads({})

    said = asker.ask(editor_of, WRITING, 2, lambda _: None)
    assert [one.text for one in said] == [one.text for one in expected]
    assert [len(places) for places in asked] == [2, 2, 2]
    assert not images._features


def test_failing_edit_leaves_nothing_on_the_model() -> None:
    class Failing(ZeroHeads):
        def edit_output(self, *_: object) -> torch.Tensor:
            raise ZeroDivisionError

    family = tiny("llava")
    before = state(family)
    asker = asker_of(family, examples_of(family))
    with pytest.raises(ZeroDivisionError):
        asker.ask(lambda _: Failing(HEADS), WRITING, 4, lambda _: None)
    assert state(family) == before
