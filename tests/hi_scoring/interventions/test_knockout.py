"""The sweep over one question: every flow around every layer, its control, and which questions are left out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from datasetkit.core.errors import RecipeError, UnusableError
from datasetkit.hi_scoring.interventions import knockout
from datasetkit.hi_scoring.interventions.edges import Block, Edges, window_around
from datasetkit.hi_scoring.interventions.knockout import Knockout, QuestionResult
from datasetkit.hi_scoring.interventions.positions import Flow
from datasetkit.hi_scoring.interventions.questions import ClosedQuestion
from datasetkit.hi_scoring.interventions.rerun import rerun_blocked
from datasetkit.options.heads import KnockoutOptions
from tests.hi_scoring.images import sample
from tests.hi_scoring.interventions.asking import blocked, put, question
from tests.hi_scoring.interventions.slow import slow_logits
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import LAYERS, TinyFamily
from tests.precision import TOLERANCE

pytestmark = pytest.mark.slow


def measure(family: TinyFamily, item: ClosedQuestion, *, batch: int = 5, **options: Any) -> QuestionResult:
    chosen = KnockoutOptions(**{"window": 2, "only_correct": False, "answer_tokens": 2} | options)
    [result] = Knockout(family.model, family.processor, chosen, batch).measure([(item, sample(item.row).image)])
    if isinstance(result, UnusableError):
        raise result
    return result


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", family_params("llava", "llava_next", "paligemma2", "gemma3", "qwen3_vl"))
def test_every_flow_and_layer_equals_a_slow_pass(name: str) -> None:
    family = tiny(name)
    result = measure(family, question())
    batch = put(family, question())
    [places] = batch.places
    plain = slow_logits(family.model, batch.inputs, blocked([], [], batch.length))[0, -1].softmax(-1)
    token = int(plain.argmax())
    assert result.p == pytest.approx(float(plain[token]), rel=TOLERANCE)
    assert list(result.flows) == list(KnockoutOptions().flows)
    for name_of_flow, found in result.flows.items():
        flow = Flow.of(name_of_flow)
        edges = Edges.between(places[flow.source], places[flow.target], batch.length)
        for layer in range(LAYERS):
            marked = blocked([edges], [window_around(layer, 2, LAYERS)], batch.length)
            slow = slow_logits(family.model, batch.inputs, marked)[0, -1].softmax(-1)
            assert found.remaining[layer] == pytest.approx(float(slow[token] / plain[token]), rel=TOLERANCE)
    assert max(np.abs(found.remaining - 1).max() for found in result.flows.values()) > 0.01


@pytest.mark.parametrize(("name", "reads_all"), [("llava", False), ("paligemma", True)])
def test_tower_and_unaffected_rows_run_once(name: str, reads_all: bool) -> None:
    family = tiny(name)
    batch = put(family, question())
    images: list[int] = []
    rows: list[int] = []
    hooks = [
        family.model.model.vision_tower.register_forward_hook(lambda *_: images.append(1)),
        family.model.get_decoder()
        .layers[0]
        .register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].shape[1])),
    ]
    try:
        measure(family, question(), answer_tokens=1)
    finally:
        for hook in hooks:
            hook.remove()
    assert images == [1]
    again = batch.length - int(batch.places[0]["question"][0])
    assert rows[0] == batch.length
    assert set(rows[1:]) == ({batch.length} if reads_all else {again, 1})


@pytest.mark.usefixtures("in_float64")
def test_controls_depend_only_on_question_and_flow() -> None:
    family = tiny("gemma3")
    result = measure(family, question())
    again = measure(family, question(), batch=64, flows=("question -> last", "image -> question"))
    for name in again.flows:
        assert np.isfinite(result.flows[name].control).all()
        assert np.allclose(again.flows[name].control, result.flows[name].control, rtol=TOLERANCE)
    other = measure(family, question(), seed=1)
    changed = [
        name for name in result.flows if not np.array_equal(result.flows[name].control, other.flows[name].control)
    ]
    assert "question -> last" in changed
    assert all(one.overlap == 0 for name, one in result.flows.items() if name.startswith("key object"))


def test_mostly_shared_random_edges_are_no_control() -> None:
    """36 of about 60 tokens belong to the image in the tiny LLaVA, so random ones mostly do, too."""
    flows = measure(tiny("llava"), question()).flows
    mostly = {name for name, one in flows.items() if one.overlap > 0.5}
    assert mostly == {"image -> question", "image without key object -> question"}
    assert 0 < flows["image -> last"].overlap <= 0.5
    assert flows["question -> last"].overlap == 0
    for name, one in flows.items():
        assert np.isnan(one.control).all() if name in mostly else np.isfinite(one.control).all()
        assert np.isfinite(one.remaining).all()


def blocks_of(family: TinyFamily, monkeypatch: pytest.MonkeyPatch, flow: str) -> list[Edges]:
    """The edges blocked around the first layer: the flow's, and its control's if there is one."""
    blocks: list[Block] = []

    def noted(model: Any, prompt: Any, first: int, given: list[Block], heads: Any) -> torch.Tensor:
        blocks.extend(given)
        return rerun_blocked(model, prompt, first, given, heads)

    monkeypatch.setattr(knockout, "rerun_blocked", noted)
    measure(family, question(), flows=(flow,), window=1)
    return [block.edges for block in blocks if block.layers == (0, 1)]


def test_image_flows_have_image_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    family = tiny("llava")
    [places] = put(family, question()).places
    edges, control = blocks_of(family, monkeypatch, "key object -> question")
    image = set(places["image"].tolist())
    assert set(edges.keys.nonzero()[:, 1].tolist()) == set(places["key object"].tolist())
    assert set(control.keys.nonzero()[:, 1].tolist()) <= image - set(places["key object"].tolist())
    assert control.keys.sum(1).tolist() == edges.keys.sum(1).tolist()
    # Any other keys may be drawn.
    _, control = blocks_of(family, monkeypatch, "options -> last")
    assert not set(control.keys.nonzero()[:, 1].tolist()) & set(places["options"].tolist())


def test_control_matches_edges_in_sliding_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny Gemma 3 sees eight keys in every other layer; the options are among the last eight."""
    edges, control = blocks_of(tiny("gemma3"), monkeypatch, "options -> last")
    few = torch.arange(edges.keys.shape[1]) > int(edges.targets[0]) - 8
    assert [int((one.keys & few).sum()) for one in (edges, control)] == [3, 3]
    assert [int(one.keys.sum()) for one in (edges, control)] == [3, 3]
    # The question is not among them, so its control must not be, either.
    edges, control = blocks_of(tiny("gemma3"), monkeypatch, "question -> last")
    assert [int((one.keys & few).sum()) for one in (edges, control)] == [0, 0]
    assert int(control.keys.sum()) == int(edges.keys.sum()) == 11


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
def test_only_chosen_heads_are_blocked() -> None:
    family = tiny("llava")
    batch = put(family, question())
    [places] = batch.places
    heads = ((0, 1), (1, 2), (3, 0))
    result = measure(family, question(), heads=heads, flows=("image -> question",), window=1)
    edges = Edges.between(places["image"], places["question"], batch.length)
    plain = slow_logits(family.model, batch.inputs, blocked([], [], batch.length))[0, -1].softmax(-1)
    token = int(plain.argmax())
    for layer in range(LAYERS):
        marked = blocked([edges], [(layer, layer + 1)], batch.length, heads)
        slow = slow_logits(family.model, batch.inputs, marked)[0, -1].softmax(-1)
        left = float(slow[token] / plain[token])
        assert result.flows["image -> question"].remaining[layer] == pytest.approx(left, rel=TOLERANCE)
    # No head was chosen there.
    assert result.flows["image -> question"].remaining[2] == pytest.approx(1, rel=TOLERANCE)


def test_empty_blocks_change_nothing_in_bfloat16() -> None:
    """In a batch a prompt is rounded differently than alone; its blocks are compared with the prompt in their batch."""
    family = tiny("llava")
    short = TinyFamily("llava", copy.deepcopy(family.model).to(torch.bfloat16), family.processor)
    result = measure(short, question(), heads=((0, 0),), window=1, batch=16)
    for one in result.flows.values():
        assert one.remaining[1:].tolist() == [1, 1, 1]


def test_flows_between_missing_sets_are_left_out() -> None:
    result = measure(tiny("llava"), question(masks=(), template="{question}"))
    assert list(result.flows) == ["image -> question", "image -> last", "question -> last", "last -> last"]


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
def test_wrong_answers_are_reported_and_not_blocked() -> None:
    family = tiny("llava")
    wrong = measure(family, question(template="{question}", options=()), only_correct=True)
    assert (wrong.is_right, wrong.flows) == (False, {})
    assert wrong.said
    right = measure(family, question(template="{question}", options=(), answer=wrong.said), only_correct=True)
    assert right.is_right
    assert "image -> last" in right.flows
    assert right.tracking.shape == (2, LAYERS + 1, 4)
    assert right.tracking[0, -1, 0] == pytest.approx(right.p, rel=TOLERANCE)
    assert np.isnan(right.tracking[:, :, 2:]).all()


@pytest.mark.parametrize(
    ("item", "image", "reason"),
    [
        (question("what </s> colour ?"), None, "special_token"),
        (question("what colour ? " * 1500), None, "text_too_long"),
        (question(), Image.new("RGB", (50, 84)), "bad_mask"),
    ],
    ids=["special token", "long", "another image"],
)
def test_unusable_question_is_its_own_error(item: ClosedQuestion, image: Image.Image | None, reason: str) -> None:
    family = tiny("llava")
    asked = [(item, image or sample(0).image), (question(), sample(0).image)]
    found = Knockout(family.model, family.processor, KnockoutOptions(only_correct=False), 8).measure(asked)
    assert [getattr(one, "reason", None) for one in found] == [reason, None]


def test_non_finite_logits_are_reported() -> None:
    family = tiny("llava")
    hook = family.model.lm_head.register_forward_hook(lambda _module, _inputs, output: output * torch.nan)
    try:
        with pytest.raises(UnusableError) as caught:
            measure(family, question())
    finally:
        hook.remove()
    assert caught.value.reason == "not_finite"


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(
    ("at_once", "reason"), [(4, None), (1, "out_of_memory")], ids=["halved until it fits", "not even alone"]
)
def test_blocks_that_do_not_fit_are_halved(at_once: int, reason: str | None) -> None:
    family = tiny("llava")
    whole = measure(family, question())
    sizes: list[int] = []

    def short_of_memory(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        # One row more than blocks: that of the unblocked prompt.
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > at_once:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = family.model.get_decoder().layers[-1].register_forward_pre_hook(short_of_memory)
    try:
        if reason is None:
            found = measure(family, question(), batch=12)
            for name, one in whole.flows.items():
                assert np.allclose(found.flows[name].remaining, one.remaining, rtol=TOLERANCE)
            assert max(size for size in sizes[-10:]) <= at_once
        else:
            with pytest.raises(UnusableError) as caught:
                measure(family, question(), batch=2)
            assert caught.value.reason == reason
    finally:
        hook.remove()


def test_missing_heads_are_refused() -> None:
    family = tiny("llava")
    with pytest.raises(RecipeError, match=r"there is no head 1\.4; the model has 4 layers of 4 heads"):
        Knockout(family.model, family.processor, KnockoutOptions(heads=((0, 0), (1, 4))), 8)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"flows": ("picture -> last",)}, "'picture -> last' is not a flow"),
        ({"flows": ("image->last", "image -> last")}, "name each item once, not image -> last, image -> last"),
        ({"flows": ()}, "at least 1 item"),
        ({"window": 0}, "greater than or equal to 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        KnockoutOptions(**options)
