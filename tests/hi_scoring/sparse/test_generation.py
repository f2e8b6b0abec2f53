"""Generation with sparse prefill: tokens after the prompt see everything, however they are computed; adapters, too."""

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from datasetkit.hi_scoring.sparse import sparsify
from tests.hi_scoring.attention.running import LONG, NEW_TOKENS, SHORT, batch_of, calmer, generate, longer
from tests.hi_scoring.sparse.references import case_of, plan_of, slowly
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import LAYERS, TinyFamily
from tests.precision import CHANGED, TOLERANCE

pytestmark = [pytest.mark.numeric, pytest.mark.slow]


def expected_of(family: TinyFamily, inputs: Mapping[str, Any], sequences: Tensor) -> Tensor:
    """Logits of the generated tokens by slow code, in one pass over all of them, (B, NEW_TOKENS, V)."""
    with slowly(family, case_of(family, inputs, plan_of())):
        return family.model(**longer(inputs, sequences, family.name)).logits[:, -NEW_TOKENS:]


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("texts", [(LONG,), (LONG, SHORT)], ids=["single", "padded"])
@pytest.mark.parametrize("name", family_params())
def test_generated_tokens_see_everything_after_a_sparse_prefill(name, texts):
    family = calmer(name)
    inputs = batch_of(family, *texts)
    with sparsify(family.model, plan_of()):
        generated = generate(family, inputs)
    expected = expected_of(family, inputs, generated.sequences)
    logits = torch.stack(generated.logits, 1)
    assert logits.shape[1] == NEW_TOKENS
    assert (logits - expected).abs().max() < TOLERANCE
    # generate() suppresses them, too.
    expected[..., [family.model.config.image_token_id, family.processor.tokenizer.eos_token_id]] = -torch.inf
    assert torch.equal(generated.sequences[:, -NEW_TOKENS:], expected.argmax(-1))


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("texts", [(LONG,), (LONG, SHORT)], ids=["single", "padded"])
@pytest.mark.parametrize("name", family_params("llava", "paligemma", "qwen2_vl"))
def test_generated_tokens_see_everything_without_cache(name, texts):
    family = calmer(name)
    inputs = batch_of(family, *texts)
    with sparsify(family.model, plan_of()):
        generated = generate(family, inputs, use_cache=False)
    expected = expected_of(family, inputs, generated.sequences)
    assert (torch.stack(generated.logits, 1) - expected).abs().max() < TOLERANCE


def drafts(model: Any, run: Callable[[], Any]) -> tuple[Any, list[int]]:
    """Run something, and return the number of input tokens of each forward pass."""
    given: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda _, __, kwargs: given.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        return run(), given
    finally:
        handle.remove()


@pytest.mark.usefixtures("in_float64")
def test_drafted_tokens_see_everything():
    """Drafts of the first pass come with the prompt, in one pass without a cache."""
    family = calmer("llava")
    inputs = batch_of(family, LONG)
    assistant = copy.deepcopy(family.model)
    assistant.generation_config.num_assistant_tokens = 6
    assistant.generation_config.num_assistant_tokens_schedule = "constant"
    assistant.generation_config.assistant_confidence_threshold = 0.0
    # Its drafts are right, so all of them are accepted.
    with sparsify(family.model, plan_of()), sparsify(assistant, plan_of()):
        plain = generate(family, inputs)
        assisted, given = drafts(family.model, lambda: generate(family, inputs, assistant_model=assistant))
    assert given[0] == inputs["input_ids"].shape[1] + 6
    assert torch.equal(assisted.sequences, plain.sequences)
    assert (torch.stack(assisted.logits, 1) - torch.stack(plain.logits, 1)).abs().max() < TOLERANCE


@pytest.mark.usefixtures("in_float64")
def test_prompt_ends_are_known_only_in_generate():
    """A pass over prompt and response is sparse throughout, after a generate() and during that of another model."""
    family = calmer("llava")
    inputs = batch_of(family, LONG)
    other = copy.deepcopy(family.model)
    within = []
    with torch.no_grad(), sparsify(family.model, plan_of()), sparsify(other, plan_of()):
        sequences = generate(family, inputs).sequences
        whole = longer(inputs, sequences, "llava")
        ours = family.model(**whole).logits
        generate(family, inputs, logits_processor=[lambda _, scores: within.append(other(**whole).logits) or scores])
    assert torch.equal(within[0], ours)
    case = replace(case_of(family, inputs, plan_of()), prompt=whole["input_ids"].shape[1])
    case.text[:, inputs["input_ids"].shape[1] :] = True
    with slowly(family, case):
        expected = family.model(**whole).logits
    assert (ours - expected).abs().max() < TOLERANCE
    assert (ours[:, -NEW_TOKENS:] - expected_of(family, inputs, sequences)).abs().max() > CHANGED


def test_it_works_in_the_threads_that_generate():
    family = tiny("llava")
    inputs = batch_of(family, LONG)
    found = []
    with sparsify(family.model, plan_of()) as sparse:
        expected = generate(family, inputs).sequences
        thread = threading.Thread(target=lambda: found.append(generate(family, inputs).sequences))
        thread.start()
        thread.join()
    assert torch.equal(found[0], expected)
    assert sparse.coverage.sparse == 2 * (LAYERS - 1)


def test_a_copy_of_a_sparse_model_is_sparse():
    family = calmer("llava")
    inputs = batch_of(family, LONG)
    with sparsify(family.model, plan_of()):
        expected = generate(family, inputs, use_cache=False)
        copied = TinyFamily("llava", copy.deepcopy(family.model), family.processor)
    ours = generate(copied, inputs, use_cache=False)
    assert torch.equal(torch.stack(ours.logits), torch.stack(expected.logits))


def test_custom_generate_is_restored():
    family = tiny("llava")
    model = copy.deepcopy(family.model)
    asked = []
    model.generate = lambda **options: asked.append(options) or type(model).generate(model, **options)
    own = model.generate
    with sparsify(model, plan_of()):
        model.generate(**batch_of(family, LONG), max_new_tokens=1)
    assert model.generate is own
    assert len(asked) == 1


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("task", [None, "CAUSAL_LM"], ids=["plain", "of a task"])
def test_adapters_are_sparse_like_merged_models(task):
    base = calmer("llava")
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        config = LoraConfig(target_modules=r".*language_model.*[qv]_proj", r=2, init_lora_weights=False, task_type=task)
        adapted = get_peft_model(copy.deepcopy(base.model), config).eval()
    merged = copy.deepcopy(adapted).merge_and_unload()
    inputs = batch_of(base, LONG, SHORT)
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "suppress_tokens": [base.model.config.image_token_id]}

    def said(model: Any) -> list[Tensor]:
        greedy, beams = (model.generate(**inputs, **options, do_sample=False, num_beams=count) for count in (1, 3))
        return [greedy, beams, model(**inputs).logits]

    with torch.no_grad():
        plain = said(adapted)
        with sparsify(merged, plan_of()):
            expected = said(merged)
        with sparsify(adapted, plan_of()) as sparse:
            ours = said(adapted)
        after = said(adapted)
    assert sparse.coverage.sparse == (2 + 2 * 3 + 2) * (LAYERS - 1)
    assert torch.equal(ours[0], expected[0])
    assert torch.equal(ours[1], expected[1])
    assert (ours[2] - expected[2]).abs().max() < TOLERANCE
    assert (ours[2] - plain[2]).abs().max() > CHANGED
    assert all(torch.equal(one, other) for one, other in zip(plain, after, strict=True))
