"""Replaced head outputs compared with slow code: passes and cached generation of padded batches, all families."""

from typing import Any

import pytest
import torch
from torch import Tensor

from datasetkit.hi_scoring.ablation.editors import (
    Donated,
    HeadEditor,
    MeanHeads,
    OutputCapture,
    OutputSums,
    ResampledHeads,
    ZeroHeads,
)
from datasetkit.hi_scoring.ablation.references import References
from datasetkit.hi_scoring.ablation.vision import SeenImages
from datasetkit.hi_scoring.attention import AttentionCall, instrumented
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from tests.hi_scoring.ablation.asked import examples_of
from tests.hi_scoring.ablation.slow import Replacement, ablated_logits, heads_out
from tests.hi_scoring.attention.running import NEW_TOKENS, generate
from tests.hi_scoring.attention.test_editors import calmer, longer
from tests.hi_scoring.tiny_models import TinyFamily, family_params
from tests.hi_scoring.tiny_parts import HEAD_WIDTH, HEADS, LAYERS
from tests.precision import CHANGED, TOLERANCE

pytestmark = [pytest.mark.numeric, pytest.mark.slow]

CHOSEN = {1: (0, 2), 3: (3,)}
# At other tokens, and at image tokens.
MEANS = torch.randn(2, LAYERS, HEADS, HEAD_WIDTH, generator=torch.Generator().manual_seed(1))
# The index of each row's donor, of three rows: longer, shorter, longer.
DONORS = (1, 2, 0)


def encoded(family: TinyFamily, examples: Examples, places: tuple[int, ...], *, said: bool = False) -> dict[str, Any]:
    """Examples as a batch; a single one has no padding."""
    dialogue = Dialogue(family.processor, family.model.config)
    chosen = [examples.items[place] for place in places]
    return dialogue.encode(
        [examples.image(one) for one in chosen],
        [dialogue.prompt(one.prompt) for one in chosen],
        [one.response + dialogue.closing for one in chosen] if said else None,
    )


def editor_of(mode: str, family: TinyFamily, examples: Examples) -> HeadEditor:
    dialogue = Dialogue(family.processor, family.model.config)
    references = References(family.model, dialogue, examples, SeenImages(family.model))
    if mode == "resample":
        return ResampledHeads(CHOSEN, references.donated(DONORS, CHOSEN))
    return ZeroHeads(CHOSEN) if mode == "zero" else MeanHeads(CHOSEN, MEANS, references.image_slots((0, 1, 2)))


def replacement_of(mode: str, family: TinyFamily, examples: Examples, place: int) -> Replacement:
    if mode == "zero":
        return lambda _layer, _head, count: torch.zeros(count, HEAD_WIDTH)
    prompt = encoded(family, examples, (place,))["input_ids"][0]
    if mode == "mean":
        kinds = [int(token == family.model.config.image_token_id) for token in prompt]
        assert 0 < sum(kinds) < len(kinds)
        return lambda layer, head, count: MEANS[kinds + [0] * (count - len(kinds)), layer, head]
    prompt_length = len(prompt)
    donor_prompt_length = encoded(family, examples, (DONORS[place],))["input_ids"].shape[1]
    outputs, _ = heads_out(family, encoded(family, examples, (DONORS[place],), said=True))
    last = outputs.shape[1] - 1

    def resampled(layer: int, head: int, count: int) -> Tensor:
        slots = [slot - prompt_length + donor_prompt_length for slot in range(count)]
        return torch.stack([outputs[layer, min(max(slot, 0), last), head] for slot in slots])

    return resampled


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("mode", ["zero", "mean", "resample"])
@pytest.mark.parametrize("name", family_params())
def test_padded_generation_equals_slow_code(name: str, mode: str) -> None:
    family = calmer(name)
    examples = examples_of(family)
    inputs = encoded(family, examples, (0, 1, 2))
    with torch.no_grad(), instrumented(family.model, editors=[editor_of(mode, family, examples)]):
        generated = generate(family, inputs)
    logits = torch.stack(generated.logits, 1)
    plain = torch.stack(generate(family, inputs).logits, 1)
    for place in range(3):
        alone = encoded(family, examples, (place,))
        tokens = generated.sequences[place, -NEW_TOKENS:]
        whole = longer(alone, torch.cat([alone["input_ids"], tokens[None]], 1), name)
        expected = ablated_logits(family, whole, CHOSEN, replacement_of(mode, family, examples, place))[-NEW_TOKENS:]
        assert (logits[place] - expected).abs().max() < TOLERANCE
        expected[:, family.model.config.image_token_id] = -torch.inf
        expected[:, family.processor.tokenizer.eos_token_id] = -torch.inf
        assert tokens.tolist() == expected.argmax(-1).tolist()
        assert (logits[place] - plain[place]).abs().max() > CHANGED


def call_of(layer: int, first: int, count: int) -> AttentionCall:
    """A call with queries at these slots; nothing else matters for head outputs."""
    slots = torch.arange(first, first + count)
    nothing = torch.zeros(0)
    return AttentionCall(layer, nothing, nothing, nothing, 1.0, None, slots, slots, None, causal=True)


def test_resampled_outputs_by_hand() -> None:
    # Two donors in five slots, with scalar outputs: padding, three prompt tokens and one of the response; then one
    # prompt token and two of the response, after two of padding.
    outputs = torch.tensor([[0.0, 1, 2, 3, 4], [0, 0, 11, 12, 13]])[:, :, None, None]
    donated = Donated({2: outputs}, first=torch.tensor([1, 2]), last=torch.tensor([3, 2]))
    editor = ResampledHeads({2: (1,)}, donated)
    output = torch.full((2, 4, 3, 1), -1.0)
    prompt = editor.edit_output(call_of(2, 0, 4), output)
    assert prompt[:, :, 1, 0].tolist() == [[1, 1, 2, 3], [11, 11, 11, 11]]
    steps = [editor.edit_output(call_of(2, slot, 1), output[:, :1]) for slot in (4, 5, 6)]
    assert torch.cat(steps, 1)[:, :, 1, 0].tolist() == [[4, 4, 4], [12, 13, 13]]
    for edited in (prompt, *steps):
        assert edited[:, :, (0, 2)].eq(-1).all()
    assert editor.edit_output(call_of(1, 0, 4), output) is output
    assert output.eq(-1).all()


def test_means_by_hand_per_kind_of_token() -> None:
    means = torch.tensor([1.0, 2.0])[:, None, None, None].expand(2, 1, 3, 1)
    # Two prompts in four slots: padding, two image tokens and a word; then an image token and three words.
    editor = MeanHeads({0: (1,)}, means, torch.tensor([[False, True, True, False], [True, False, False, False]]))
    output = torch.full((2, 4, 3, 1), -1.0)
    prompt = editor.edit_output(call_of(0, 0, 4), output)
    assert prompt[:, :, 1, 0].tolist() == [[1, 2, 2, 1], [2, 1, 1, 1]]
    steps = [editor.edit_output(call_of(0, slot, 1), output[:, :1]) for slot in (4, 5, 6)]
    assert torch.cat(steps, 1)[:, :, 1, 0].eq(1).all()
    for edited in (prompt, *steps):
        assert edited[:, :, (0, 2)].eq(-1).all()


def test_sums_by_hand_cover_counted_tokens() -> None:
    output = torch.arange(12.0).reshape(2, 3, 2, 1)
    sums = OutputSums(torch.tensor([[[0, 1, 0], [1, 1, 0]], [[0, 0, 1], [0, 0, 1]]], dtype=torch.bool))
    assert sums.edit_output(call_of(0, 0, 3), output) is output
    assert sums.sums[0].tolist() == [[[2.0 + 6 + 8], [3.0 + 7 + 9]], [[4.0 + 10], [5.0 + 11]]]


def test_captured_outputs_survive_further_passes() -> None:
    output = torch.ones(1, 2, 3, 1)
    capture = OutputCapture({0: (0, 2)})
    assert capture.edit_output(call_of(0, 0, 2), output) is output
    capture.edit_output(call_of(1, 0, 2), output)
    output.zero_()
    assert {layer: kept.tolist() for layer, kept in capture.outputs.items()} == {0: [[[[1.0], [1.0]]] * 2]}


@pytest.mark.parametrize("editor", [ZeroHeads(CHOSEN), MeanHeads(CHOSEN, MEANS, torch.ones(2, 5, dtype=torch.bool))])
def test_type_and_other_heads_stay_unchanged(editor: HeadEditor) -> None:
    output = torch.ones(2, 5, HEADS, HEAD_WIDTH, dtype=torch.bfloat16)
    edited = editor.edit_output(call_of(1, 0, 5), output)
    assert edited.dtype == torch.bfloat16
    assert edited[:, :, (1, 3)].eq(1).all()
    wanted = torch.zeros(HEAD_WIDTH) if type(editor) is ZeroHeads else MEANS[1, 1, 2]
    assert torch.equal(edited[1, 4, 2], wanted.bfloat16())
