"""Sparse prefill in all families, compared with slow code without a cache, and its complete removal."""

import copy
from typing import Any

import pytest
import torch

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention import instrumented
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.sparse import SparsePlan, sparsify
from datasetkit.hi_scoring.sparse.coverage import DenseReason
from tests.hi_scoring.attention.running import LONG, SHORT, AllRows, batch_of
from tests.hi_scoring.sparse.references import DENSE, IDENTITY, case_of, plan_of, slowly
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import LAYERS
from tests.precision import CHANGED, TOLERANCE

OTHER = SparsePlan.keeping([Head(0, 0)], IDENTITY, (LAYERS, 8))
pytestmark = pytest.mark.numeric


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("texts", [(LONG,), (LONG, SHORT)], ids=["single", "padded"])
@pytest.mark.parametrize("name", family_params())
def test_prefill_equals_slow_code(name, texts):
    family = tiny(name)
    inputs = batch_of(family, *texts)
    plan = plan_of()
    with slowly(family, case_of(family, inputs, plan)):
        expected = family.model(**inputs).logits
    with torch.no_grad():
        plain = family.model(**inputs).logits
        with sparsify(family.model, plan) as sparse:
            # As some adapters call it, bypassing the model's hooks.
            ours = family.model.forward(**inputs).logits
    real = inputs["attention_mask"].bool()
    assert (ours - expected)[real].abs().max() < TOLERANCE
    if name in DENSE:
        # All heads of the last layer are full, so it is not counted.
        assert sparse.coverage.dense == {DENSE[name]: len(texts) * (LAYERS - 1)}
        assert sparse.coverage.sparse == 0
        assert (ours - plain)[real].abs().max() < TOLERANCE
    else:
        assert sparse.coverage.sparse == len(texts) * (LAYERS - 1)
        assert sparse.coverage.dense.total() == 0
        assert (ours - plain)[real].abs().max() > CHANGED


@pytest.mark.usefixtures("in_float64")
def test_prompts_hiding_little_stay_dense():
    family = tiny("llava")
    inputs = batch_of(family, LONG)
    with torch.no_grad():
        plain = family.model(**inputs).logits
        for options in ({"dense_above": 0.3}, {"window": 1000}):
            with sparsify(family.model, plan_of(**options)) as sparse:
                ours = family.model(**inputs).logits
            assert (ours - plain).abs().max() < TOLERANCE
            assert sparse.coverage.dense == {DenseReason.HIDES_LITTLE: LAYERS - 1}
            assert sparse.coverage.share == 0


@pytest.mark.usefixtures("in_float64")
def test_tokens_after_a_cache_see_all_of_it_and_are_counted():
    family = tiny("llava")
    inputs = batch_of(family, LONG)
    more = torch.full((1, 3), 7)
    case = case_of(family, inputs, plan_of())
    with torch.no_grad(), sparsify(family.model, plan_of()) as sparse:
        first = family.model(**inputs, use_cache=True)
        ours = family.model(input_ids=more, past_key_values=first.past_key_values).logits
    with slowly(family, case):
        whole = {**inputs, "input_ids": torch.cat([inputs["input_ids"], more], 1)}
        whole["attention_mask"] = torch.ones_like(whole["input_ids"])
        expected = family.model(**whole).logits[:, -3:]
    assert (ours - expected).abs().max() < TOLERANCE
    assert sparse.coverage.dense == {DenseReason.CONTINUES: LAYERS - 1}
    assert sparse.coverage.sparse == LAYERS - 1


@pytest.mark.usefixtures("in_float64")
def test_gaps_between_tokens_stay_dense():
    family = tiny("llava")
    inputs = batch_of(family, LONG)
    inputs["attention_mask"][0, 5] = 0
    with torch.no_grad():
        plain = family.model(**inputs).logits
        with sparsify(family.model, plan_of()) as sparse:
            ours = family.model(**inputs).logits
    real = inputs["attention_mask"].bool()
    assert (ours - plain)[real].abs().max() < TOLERANCE
    assert sparse.coverage.dense == {DenseReason.GAPS: LAYERS - 1}


def state(model: Any) -> list[Any]:
    """Everything that a plan could leave on a model: hooks, attributes, attention functions."""
    modules = [
        (name, *map(len, (m._forward_hooks, m._forward_pre_hooks)), set(vars(m))) for name, m in model.named_modules()
    ]
    configs = (model.config, *(getattr(model.config, name) for name in model.config.sub_configs))
    return [modules, [config._attn_implementation for config in configs], model.config.to_dict()]


@pytest.mark.parametrize("name", family_params("llava", "gemma3", "idefics3"))
def test_nothing_stays_on_the_model(name):
    model = copy.deepcopy(tiny(name).model)
    inputs = batch_of(tiny(name), LONG)
    with torch.no_grad():
        # Transformers leaves hooks when a model first runs.
        plain = model(**inputs).logits
        before = state(model)
        with sparsify(model, plan_of()):
            assert state(model) != before
            model(**inputs)
        assert state(model) == before
        sparse = sparsify(model, plan_of())
        model(**inputs)
        sparse.undo()
        sparse.undo()
        assert state(model) == before
        with pytest.raises(RuntimeError, match="mine"), sparsify(model, plan_of()):
            raise RuntimeError("mine")
        for plan, kernel, told in (
            (plan_of(), "flex", "needs CUDA, and the model is on cpu"),
            (OTHER, "blocks", "of 8"),
        ):
            with pytest.raises(ModelError, match=told):
                sparsify(model, plan, kernel)
        assert state(model) == before
        with sparsify(model, plan_of()), pytest.raises(ModelError, match="no input_ids"):
            model(inputs_embeds=model.get_input_embeddings()(inputs["input_ids"]))
        assert state(model) == before
        assert torch.equal(model(**inputs).logits, plain)


def test_other_models_are_refused():
    model = tiny("llava").model
    with pytest.raises(ModelError, match=r"4 layers of 8 heads; this LlavaForConditionalGeneration has 4 of 4"):
        sparsify(model, OTHER)
    with sparsify(model, plan_of()), pytest.raises(ModelError, match="already sparsified"):
        sparsify(model, plan_of())
    text_model = copy.deepcopy(model)
    text_model.config.image_token_id = None
    with pytest.raises(ModelError, match="no image_token_id"):
        sparsify(text_model, plan_of())
    assert text_model.get_decoder().config._attn_implementation == "sdpa"


def test_displaced_plan_is_reported():
    family = tiny("llava")
    inputs = batch_of(family, LONG)
    with (
        torch.no_grad(),
        sparsify(family.model, plan_of()),
        instrumented(family.model, readers=[AllRows()]),
        pytest.raises(ModelError, match="something else computed its attention"),
    ):
        family.model(**inputs)


def test_training_and_bare_decoders_are_refused():
    model = copy.deepcopy(tiny("llava").model)
    inputs = batch_of(tiny("llava"), LONG)
    with sparsify(model, plan_of()):
        with pytest.raises(ModelError, match="outside its model's forward pass"):
            model.get_decoder()(input_ids=inputs["input_ids"] * 0)
        for layer in model.get_decoder().layers:
            layer.self_attn.attention_dropout = 0.1
        model.train()
        with pytest.raises(ModelError, match=r"layer 0 drops attention at random, p = 0.1"):
            model(**inputs)
