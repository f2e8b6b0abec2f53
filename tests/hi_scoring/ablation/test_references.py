"""Head outputs on unchanged data: their means by hand, and which samples they are taken from."""

from collections import Counter

import pytest
import torch

from datasetkit.core.errors import ModelError, SourceError
from datasetkit.hi_scoring.ablation.references import References, donors_of
from datasetkit.hi_scoring.ablation.vision import SeenImages
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from tests.hi_scoring.ablation.asked import QUESTIONS, asked_row, examples_of, with_images
from tests.hi_scoring.ablation.slow import heads_out
from tests.hi_scoring.tiny_models import TinyFamily, family_params, tiny
from tests.precision import TOLERANCE

pytestmark = pytest.mark.usefixtures("in_float64")


def references_of(family: TinyFamily, examples: Examples) -> References:
    dialogue = Dialogue(family.processor, family.model.config)
    return References(family.model, dialogue, examples, SeenImages(family.model))


@pytest.mark.numeric
@pytest.mark.parametrize("name", family_params("llava", "paligemma2", "gemma3", "qwen2_vl"))
def test_means_cover_all_tokens_with_images_apart(name: str) -> None:
    family = tiny(name)
    examples = examples_of(family, tasks=("caption", "vqa"))
    dialogue = Dialogue(family.processor, family.model.config)
    outputs, shown = [], []
    for one in examples.items:
        said = one.response + dialogue.closing
        inputs = dialogue.encode([examples.image(one)], [dialogue.prompt(one.prompt)], [said])
        outputs.append(heads_out(family, inputs)[0])
        shown.append(inputs["input_ids"][0] == family.model.config.image_token_id)
    is_image = torch.cat(shown)
    expected = torch.stack([torch.cat(outputs, 1)[:, kind].mean(1) for kind in (~is_image, is_image)])
    for batch in (1, 3):
        done: list[int] = []
        found = references_of(family, examples).means(batch, done.append)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < TOLERANCE
        assert done == [*range(batch, 8, batch), 8]
    assert expected.abs().max() > 0.01
    assert (expected[0] - expected[1]).abs().max() > 0.01


def test_means_are_computed_once() -> None:
    references = references_of(tiny("llava"), examples_of(tiny("llava")))
    done: list[int] = []
    assert references.means(4, done.append) is references.means(4, done.append)
    assert done == [4]


def test_means_count_examples_once_after_out_of_memory() -> None:
    family = tiny("llava")
    examples = examples_of(family)
    expected = references_of(family, examples).means(4)
    most = 2

    def run_short(_: object, arguments: tuple[object, ...], options: dict[str, torch.Tensor]) -> None:
        if len(options["hidden_states"] if "hidden_states" in options else arguments[0]) > most:
            raise torch.OutOfMemoryError

    handle = family.model.get_decoder().layers[2].register_forward_pre_hook(run_short, with_kwargs=True)
    try:
        found = references_of(family, examples).means(4)
        assert (found - expected).abs().max() < TOLERANCE
        most = 0
        with pytest.raises(
            ModelError, match=r"not enough memory for sample-2 alone, prompt 'what .'; .* another device"
        ):
            references_of(family, examples).means(1)
    finally:
        handle.remove()


def test_image_slots_are_those_of_prompts_only() -> None:
    family = tiny("llava")
    examples = examples_of(family)
    found = references_of(family, examples).image_slots((2, 1))
    dialogue = Dialogue(family.processor, family.model.config)
    chosen = [examples.items[place] for place in (2, 1)]
    assert len(chosen[0].prompt) < len(chosen[1].prompt)
    inputs = dialogue.encode(
        [examples.image(one) for one in chosen], [dialogue.prompt(one.prompt) for one in chosen], None
    )
    assert torch.equal(found, inputs["input_ids"] == family.model.config.image_token_id)
    assert found.sum(1).tolist() == [36, 36]


def test_donors_share_the_task_but_not_the_image() -> None:
    rows = [asked_row(0, *QUESTIONS), asked_row(1), asked_row(2), asked_row(3, *QUESTIONS[:2])]
    examples = examples_of(tiny("llava"), *rows, tasks=("caption", "vqa"))
    drawn: Counter[int] = Counter()
    for seed in range(600):
        donors = donors_of(examples, seed)
        for place, donor in enumerate(donors):
            assert examples.items[donor].task == examples.items[place].task
            assert examples.items[donor].row != examples.items[place].row
        drawn[donors[1]] += 1
    assert examples.items[1].task == "vqa"
    possible = [place for place, one in enumerate(examples.items) if one.task == "vqa" and one.row != 0]
    assert sorted(drawn) == possible
    assert min(drawn.values()) > 100
    assert donors_of(examples, 3) == donors_of(examples, 3)


def test_rows_of_one_image_are_never_donors() -> None:
    rows = [asked_row(number) for number in range(5)]
    examples = with_images(examples_of(tiny("llava"), *rows), ["a", "b", "a", "a", None])
    drawn = [donors_of(examples, seed) for seed in range(100)]
    for place, possible in enumerate([{1, 4}, {0, 2, 3, 4}, {1, 4}, {1, 4}, {0, 1, 2, 3}]):
        assert {donors[place] for donors in drawn} == possible


def test_donors_need_two_images() -> None:
    alone = examples_of(tiny("llava"), asked_row(0, *QUESTIONS))
    twice = with_images(examples_of(tiny("llava"), asked_row(0), asked_row(1)), ["a", "a"])
    for examples in (alone, twice):
        with pytest.raises(SourceError, match=r"only one image for vqa.*leave out the mode resample"):
            donors_of(examples, 0)
