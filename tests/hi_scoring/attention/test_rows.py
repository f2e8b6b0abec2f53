"""Rows passed to readers, compared with transformers' eager attention."""

import pytest
import torch

from datasetkit.hi_scoring.attention import instrumented
from tests.hi_scoring.attention.running import (
    LONG,
    NEW_TOKENS,
    SHORT,
    AllRows,
    batch_of,
    eager,
    generate,
    implementation,
    largest_difference,
)
from tests.hi_scoring.tiny_models import NAMES, family_params, tiny
from tests.hi_scoring.tiny_parts import LAYERS
from tests.precision import TOLERANCE, default_dtype

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("in_float64"), pytest.mark.slow]


@pytest.mark.parametrize("texts", [(LONG,), (LONG, SHORT)], ids=["single", "padded"])
@pytest.mark.parametrize("name", family_params())
def test_rows_equal_eager_and_logits_stay(name, texts):
    family = tiny(name)
    inputs = batch_of(family, *texts)
    assert bool((inputs["attention_mask"] == 0).any()) == (len(texts) > 1)
    expected = eager(family, inputs)
    with torch.no_grad():
        plain = family.model(**inputs).logits
        reader = AllRows()
        with instrumented(family.model, readers=[reader]):
            read = family.model(**inputs).logits
    [layers] = reader.steps()
    assert len(layers) == LAYERS
    assert largest_difference(layers, expected.attentions, inputs["attention_mask"]) < TOLERANCE
    # Uniform attention would be equal for any heads.
    assert max(layer.amax().item() for layer in layers) > 0.5
    real = inputs["attention_mask"].bool()
    if name == "paligemma2":
        assert (read - expected.logits)[real].abs().max() < TOLERANCE
    else:
        assert torch.equal(read, plain)


@pytest.mark.parametrize("name", family_params(*(name for name in NAMES if name != "paligemma2")))
def test_readers_change_no_bit_of_float32_logits(name):
    with default_dtype(torch.float32), torch.no_grad():
        family, reader = tiny(name), AllRows()
        inputs = batch_of(family, LONG, SHORT)
        plain = family.model(**inputs).logits
        with instrumented(family.model, readers=[reader]):
            read = family.model(**inputs).logits
    assert read.dtype == reader.steps()[0][0].dtype == torch.float32
    assert torch.equal(read, plain)


@pytest.mark.parametrize("texts", [(LONG,), (LONG, SHORT)], ids=["single", "padded"])
@pytest.mark.parametrize("name", family_params())
def test_cached_generation_gives_equal_tokens_and_rows(name, texts):
    family = tiny(name)
    inputs = batch_of(family, *texts)
    plain = generate(family, inputs)
    with implementation(family.model, "eager"):
        expected = generate(family, inputs, output_attentions=True)
    reader = AllRows()
    with instrumented(family.model, readers=[reader]):
        read = generate(family, inputs)
    assert torch.equal(read.sequences, plain.sequences)
    assert torch.equal(read.sequences, expected.sequences)
    steps = reader.steps()
    assert len(steps) == len(expected.attentions) == NEW_TOKENS
    for step, (mine, theirs) in enumerate(zip(steps, expected.attentions, strict=True)):
        attended = torch.nn.functional.pad(inputs["attention_mask"], (0, step), value=1)
        assert largest_difference(mine, theirs, attended) < TOLERANCE, step


def test_sliding_layers_see_only_the_window():
    family = tiny("gemma3")
    reader = AllRows()
    with instrumented(family.model, readers=[reader]):
        generate(family, batch_of(family, LONG))
    assert [step.shape[-1] for step in reader.calls[0][1:]] == [8] * (NEW_TOKENS - 1)


def test_bidirectional_rows_see_later_tokens():
    for name in ("gemma3", "paligemma"):
        family = tiny(name)
        reader = AllRows()
        with instrumented(family.model, readers=[reader]), torch.no_grad():
            inputs = batch_of(family, LONG)
            family.model(**inputs)
        later = reader.calls[1][0][0].triu(1).sum((0, 2))
        [image] = inputs["input_ids"] == family.model.config.image_token_id
        assert later[image][:-1].min() > 0
        assert (later[~image][:-1].min() > 0) == (name == "paligemma")
