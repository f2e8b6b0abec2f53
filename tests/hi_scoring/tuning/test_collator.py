"""Labels of batches: exactly the response and its end, in every family, and a loss of exactly these tokens."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from datasetkit.hi_scoring.data.examples import Example
from datasetkit.hi_scoring.tuning.collator import IGNORED, TuningSet, collate
from tests.hi_scoring.images import sample
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tuned import COLOUR, SHAPE, asked_row, dialogue_of, examples_of, rows_data
from tests.precision import TOLERANCE

every_family = pytest.mark.parametrize("name", family_params())
CAPTION = Example(0, "r0", "caption", "", "Describe the image.", "a red square above a blue circle .")
ANSWER = Example(1, "r1", "vqa", "colour", "what colour is the square in the image, red or blue ?", "red")


def batch_of(name: str) -> dict[str, Any]:
    """A caption and an answer; in one row the prompt is longer, in the other the response."""
    images = sample(0).image, sample(1, size_hw=(60, 120)).image
    return collate(dialogue_of(name), list(zip((CAPTION, ANSWER), images, strict=True)))


@every_family
def test_labels_are_the_response_and_its_end(name: str) -> None:
    batch = batch_of(name)
    ids, labels, tokenizer = batch["input_ids"], batch["labels"], tiny(name).processor.tokenizer
    assert labels.shape == ids.shape
    assert labels.dtype == torch.int64
    for row, example in enumerate((CAPTION, ANSWER)):
        learnt = labels[row] != IGNORED
        assert torch.equal(labels[row][learnt], ids[row][learnt])
        assert tokenizer.convert_ids_to_tokens(ids[row][learnt].tolist()) == [*example.response.split(), "</s>"]
        assert learnt.nonzero()[:, 0].tolist() == list(range(len(learnt) - int(learnt.sum()), len(learnt)))
    padded = batch["attention_mask"] == 0
    assert padded[:, 0].any()
    assert (labels[padded] == IGNORED).all()
    assert (labels[ids == tiny(name).model.config.image_token_id] == IGNORED).all()


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
@every_family
def test_loss_is_the_cross_entropy_of_labels(name: str) -> None:
    model, batch = copy.deepcopy(tiny(name).model).train(), batch_of(name)
    out = model(**batch)
    torch.testing.assert_close(out.loss, by_hand(out.logits, batch["labels"]), atol=TOLERANCE, rtol=0)
    out.loss.backward()
    assert all(layer.self_attn.q_proj.weight.grad.abs().sum() > 0 for layer in model.get_decoder().layers)


def by_hand(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean negative log-likelihood of learnt tokens, from the position before each."""
    losses = [
        logits[row, slot - 1].logsumexp(-1) - logits[row, slot - 1, labels[row, slot]]
        for row, slot in (labels != IGNORED).nonzero().tolist()
    ]
    return torch.stack(losses).mean()


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
@every_family
def test_neighbours_change_no_loss(name: str) -> None:
    """The sum over a batch equals that over its rows separately, so padding is not learnt and hides nothing."""
    model, batch = copy.deepcopy(tiny(name).model).train(), batch_of(name)
    dialogue = dialogue_of(name)
    counts = (batch["labels"] != IGNORED).sum(1)
    with torch.no_grad():
        together = model(**batch).loss * counts.sum()
        alone = [
            model(**collate(dialogue, [(example, image)])).loss * count
            for example, image, count in zip(
                (CAPTION, ANSWER), (sample(0).image, sample(1, size_hw=(60, 120)).image), counts, strict=True
            )
        ]
    torch.testing.assert_close(together, sum(alone), atol=TOLERANCE, rtol=0)


def test_a_dataset_gives_examples_with_their_images() -> None:
    examples = examples_of(rows_data([asked_row(0, COLOUR), asked_row(1, SHAPE, COLOUR)]))
    dataset = TuningSet(examples)
    assert len(dataset) == 5
    found = [dataset[place] for place in range(5)]
    assert [example for example, _ in found] == list(examples.items)
    for example, image in found:
        assert image.tobytes() == sample(example.row).image.tobytes()
