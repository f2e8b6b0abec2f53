"""Prompts computed once and again with edges blocked, compared with slow code that always computes everything."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention import Editor, instrumented
from datasetkit.hi_scoring.attention.instrument import _INSTRUMENTS
from datasetkit.hi_scoring.interventions.edges import Block, Edges, Window
from datasetkit.hi_scoring.interventions.positions import Flow
from datasetkit.hi_scoring.interventions.prompt_pass import PromptPass, logits_of, norm_of, read_prompt
from datasetkit.hi_scoring.interventions.rerun import rerun_blocked
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.writing import write
from tests.hi_scoring.images import sample
from tests.hi_scoring.interventions.asking import Batch, blocked, put, question
from tests.hi_scoring.interventions.slow import slow_logits
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import HEADS, LAYERS, TinyFamily
from tests.precision import CHANGED, TOLERANCE

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("in_float64")]
NEW_TOKENS = 5
WINDOWS = ((0, 1), (0, 3), (1, 2), (2, 4), (3, 4))
# Families in which all rows of a prompt see later ones, so all rows must be computed again.
BOTH_WAYS = ("paligemma", "paligemma2")


def read(family: TinyFamily, batch: Batch, watched: Tensor | None = None) -> PromptPass:
    with torch.inference_mode():
        return read_prompt(
            family.model,
            batch.inputs,
            batch.places[0]["last"] if watched is None else watched,
            max_new_tokens=NEW_TOKENS,
            pad_token_id=family.processor.tokenizer.pad_token_id,
        )


@pytest.mark.parametrize("name", family_params())
def test_prompt_pass_equals_the_model(name: str) -> None:
    family = tiny(name)
    item = question()
    batch = put(family, item)
    prompt = read(family, batch)
    with torch.no_grad():
        plain = family.model(**batch.inputs, output_hidden_states=True)
    assert (prompt.logits - plain.logits[0, -1]).abs().max() < TOLERANCE
    assert len(prompt.hidden) == len(plain.hidden_states) == LAYERS + 1
    for mine, theirs in zip(prompt.hidden[:-1], plain.hidden_states[:-1], strict=True):
        assert torch.allclose(mine, theirs[0, -1], rtol=0, atol=TOLERANCE)
    # The last hidden state of transformers is after the norm.
    with torch.no_grad():
        assert torch.allclose(
            norm_of(family.model)(prompt.hidden[-1]), plain.hidden_states[-1][0, -1], rtol=0, atol=TOLERANCE
        )
        assert torch.allclose(
            logits_of(family.model, plain.hidden_states[-1][0, -1]), prompt.logits, rtol=0, atol=TOLERANCE
        )
    dialogue = Dialogue(family.processor, family.model.config)
    [said] = write(family.model, dialogue, [sample(0).image], [item.prompt], NEW_TOKENS)
    assert family.processor.tokenizer.decode(prompt.written, skip_special_tokens=True).strip() == said


@pytest.mark.parametrize("name", family_params())
def test_affected_rows_follow_from_masks(name: str) -> None:
    family = tiny(name)
    batch = put(family, question())
    [places] = batch.places
    prompt = read(family, batch, places["question"])
    first = int(places["question"][0])
    assert prompt.first_affected(first) == (0 if name in BOTH_WAYS else first)
    image = places["image"].tolist()
    within = prompt.first_affected(image[5])
    assert within == {"gemma3": image[0]}.get(name, 0 if name in BOTH_WAYS else image[5])
    every = torch.ones(len(places["question"]), batch.length, dtype=torch.bool)
    seen = every if name in BOTH_WAYS else torch.arange(batch.length) <= places["question"][:, None]
    assert torch.equal(prompt.visible.any(0), seen)
    assert torch.equal(prompt.seen_by(places["question"][[2, 0]]).any(0), seen[[2, 0]])


def test_sliding_layers_have_separate_masks() -> None:
    """In the tiny Gemma 3, layers that see eight keys alternate with those that see all."""
    batch = put(tiny("gemma3"), question())
    rows = batch.places[0]["question"]
    last, whole = read(tiny("gemma3"), batch, rows).visible
    keys = torch.arange(batch.length)
    assert torch.equal(whole, keys <= rows[:, None])
    assert torch.equal(last, whole & (keys > rows[:, None] - 8))
    assert len(read(tiny("llava"), put(tiny("llava"), question())).visible) == 1


def blocks_of(batch: Batch, *flows: str, windows: Sequence[Window] = WINDOWS) -> list[Block]:
    [places] = batch.places
    edges = [Edges.between(places[one.source], places[one.target], batch.length) for one in map(Flow.of, flows)]
    return sorted((Block(one, window) for one in edges for window in windows), key=lambda block: block.layers)


def expected(family: TinyFamily, batch: Batch, block: Block, heads: Sequence[tuple[int, int]] | None = None) -> Tensor:
    marked = blocked([block.edges], [block.layers], batch.length, heads)
    return slow_logits(family.model, batch.inputs, marked)[0, -1]


@pytest.mark.parametrize("flow", ["image -> question", "question -> last"])
@pytest.mark.parametrize("name", family_params())
def test_all_windows_at_once_equal_one_slow_pass_each(name: str, flow: str) -> None:
    family = tiny(name)
    batch = put(family, question())
    prompt = read(family, batch)
    blocks = blocks_of(batch, flow)
    first = prompt.first_affected(min(int(block.edges.targets[0]) for block in blocks))
    with torch.inference_mode():
        unblocked, *found = rerun_blocked(family.model, prompt, first, blocks)
    assert (unblocked - prompt.logits).abs().max() < TOLERANCE
    slow = torch.stack([expected(family, batch, block) for block in blocks])
    assert (torch.stack(found) - slow).abs().max() < TOLERANCE
    if flow == "image -> question":
        assert (slow - prompt.logits).abs().max() > CHANGED


@pytest.mark.parametrize("name", family_params("llava", "paligemma2", "gemma3"))
def test_each_block_has_separate_heads_and_edges(name: str) -> None:
    family = tiny(name)
    batch = put(family, question())
    prompt = read(family, batch)
    heads = ((0, 1), (1, 0), (1, 3), (2, 2), (3, 1))
    chosen = torch.zeros(LAYERS, HEADS, dtype=torch.bool)
    chosen[tuple(zip(*heads, strict=True))] = True
    blocks = blocks_of(batch, "image -> question", "last -> last", windows=((0, 2), (1, 4)))
    first = prompt.first_affected(int(batch.places[0]["question"][0]))
    with torch.inference_mode():
        _, *found = rerun_blocked(family.model, prompt, first, blocks, chosen)
    slow = torch.stack([expected(family, batch, block, heads) for block in blocks])
    assert (torch.stack(found) - slow).abs().max() < TOLERANCE
    whole = torch.stack([expected(family, batch, block) for block in blocks])
    assert (slow - whole).abs().max() > CHANGED


def test_blocks_may_all_begin_above_the_first_layer() -> None:
    family = tiny("llava")
    batch = put(family, question())
    prompt = read(family, batch)
    blocks = blocks_of(batch, "image -> question", windows=((3, 4),))
    with torch.inference_mode():
        _, found = rerun_blocked(family.model, prompt, int(batch.places[0]["question"][0]), blocks)
    assert (found - expected(family, batch, blocks[0])).abs().max() < TOLERANCE


def traces(model) -> tuple:
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    return hooks, model.get_decoder().config._attn_implementation, dict(_INSTRUMENTS.get())


@pytest.mark.parametrize("name", family_params("llava", "paligemma"))
def test_nothing_remains_after_a_refused_block(name: str) -> None:
    family = tiny(name)
    batch = put(family, question())
    with torch.no_grad():
        plain = family.model(**batch.inputs).logits
    before = traces(family.model)
    prompt = read(family, batch)
    last = batch.places[0]["last"]
    every = Block(Edges.between(torch.arange(batch.length), last, batch.length), (1, 2))
    with torch.inference_mode():
        kept = [(keys.clone(), values.clone()) for keys, values in prompt.past]
        rerun_blocked(family.model, prompt, prompt.first_affected(int(last)), blocks_of(batch, "last -> last"))
        with pytest.raises(ModelError, match="blocks every key of the row at slot"):
            rerun_blocked(family.model, prompt, prompt.first_affected(int(last)), [every])
    assert traces(family.model) == before
    # The pass over the prompt can be continued again.
    for (keys, values), past in zip(kept, prompt.past, strict=True):
        assert torch.equal(keys, past[0])
        assert torch.equal(values, past[1])
    with torch.no_grad():
        assert torch.equal(family.model(**batch.inputs).logits, plain)


@pytest.mark.parametrize("name", family_params("qwen3_vl"))
def test_rows_with_features_between_layers_are_refused(name: str) -> None:
    family = tiny(name)
    batch = put(family, question())
    prompt = read(family, batch)
    blocks = blocks_of(batch, "image -> image")
    with torch.inference_mode(), pytest.raises(ModelError, match="flows that lead to tokens after the image"):
        rerun_blocked(family.model, prompt, int(batch.places[0]["image"][0]), blocks)


def test_model_with_scaled_logits_is_refused() -> None:
    family = tiny("llava")
    model = copy.deepcopy(family.model)
    # LLaVA ignores this setting of its text model's configuration.
    model.config.text_config.final_logit_softcapping = 0.1
    with pytest.raises(ModelError, match="are not its output matrix times its last layer"):
        read(TinyFamily("llava", model, family.processor), put(family, question()))


def test_model_without_final_norm_is_refused() -> None:
    with pytest.raises(ModelError, match="Linear has no final norm named norm"):
        norm_of(Headless())


class Headless:
    def get_decoder(self) -> torch.nn.Module:
        return torch.nn.Linear(1, 1)


def test_instrumented_model_is_refused() -> None:
    family = tiny("llava")
    with (
        instrumented(family.model, editors=[Editor()]),
        pytest.raises(ModelError, match="already instrumented"),
    ):
        read(family, put(family, question()))
