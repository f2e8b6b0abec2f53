"""Scores of samples from real models: compared with eager attention by hand, and with planted heads."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.hi_scoring.data.samples import Mention, Sample
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.scores.encoding import Encoder
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.scores.scorer import SampleScores, Scorer, device_of_scores
from datasetkit.options.heads import ScoreOptions
from tests.hi_scoring.images import SPANS, sample
from tests.hi_scoring.scores.formulas import references
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import HEAD_WIDTH, HEADS, LAYERS, TinyFamily
from tests.precision import TOLERANCE

pytestmark = pytest.mark.slow

ALL_POSITIONS = ("response", "phrase", "last", "generated")


def scored(family: TinyFamily, samples: list[Sample], **options: Any) -> list[SampleScores]:
    results = Scorer(family.model, family.processor, ScoreOptions(**options)).score(samples)
    assert not any(isinstance(result, UnusableError) for result in results), results
    return results  # type: ignore[return-value]


def eager_attention(family: TinyFamily, one: Sample) -> tuple[Any, np.ndarray[Any, Any]]:
    """The encoded sample and its whole attention, shape (layers, heads, N, N)."""
    model = copy.deepcopy(family.model)
    model.set_attn_implementation("eager")
    batch = Encoder(Dialogue(family.processor, model.config), "Describe the picture.").encode([one])
    with torch.no_grad():
        attentions = model(**batch.inputs, output_attentions=True).attentions
    return batch.rows[0], torch.stack(attentions)[:, 0].double().numpy()


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", family_params())
@pytest.mark.parametrize("convention", ["predicting", "at"])
def test_scores_equal_eager_attention(name: str, convention: str) -> None:
    family, one = tiny(name), sample(3, size_hw=(90, 120))
    [result] = scored(family, [one], convention=convention)
    row, attention = eager_attention(family, one)
    shift = 1 if convention == "predicting" else 0
    slots = row.response_slots.numpy()
    on_image = attention[..., row.image_slots.numpy()]
    np.testing.assert_allclose(
        result["response"]["image_mass"], on_image[:, :, slots - shift].mean(2).sum(-1), rtol=0, atol=TOLERANCE
    )
    np.testing.assert_allclose(
        result["last"]["image_mass"], on_image[:, :, slots[0] - 1].sum(-1), rtol=0, atol=TOLERANCE
    )
    evidence = np.zeros(row.geometry.count)
    for view in row.geometry.views:
        for coverage in view.coverage(one.masks):
            inside = coverage >= 0.5 if (coverage >= 0.5).any() else coverage == coverage.max()
            evidence[view.tokens[inside & (coverage > 0)]] = 1
    expected = (on_image[:, :, slots - shift].mean(2) * evidence).sum(-1)
    np.testing.assert_allclose(result["response"]["ram"], expected, rtol=0, atol=TOLERANCE)
    by_phrase = []
    for (start, end), mask in zip(SPANS, one.masks, strict=True):
        rows = [slot - shift for slot, (a, b) in zip(slots, row.offsets, strict=True) if a < end and start < b]
        assert len(rows) == 3
        evidence[:] = 0
        for view in row.geometry.views:
            coverage = view.coverage(mask[None])[0]
            inside = coverage >= 0.5 if (coverage >= 0.5).any() else coverage == coverage.max()
            evidence[view.tokens[inside & (coverage > 0)]] = 1
        by_phrase.append((on_image[:, :, rows].mean(2) * evidence).sum(-1))
    np.testing.assert_allclose(result["phrase"]["ram"], np.mean(by_phrase, 0), rtol=0, atol=TOLERANCE)


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
def test_look_is_attention_of_requested_positions() -> None:
    family, one, head = tiny("llava"), sample(3, size_hw=(90, 120)), Head(1, 2)
    scorer = Scorer(family.model, family.processor, ScoreOptions(max_new_tokens=4))
    row, attention = eager_attention(family, one)
    slots, on_image = row.response_slots.numpy(), attention[head][:, row.image_slots.numpy()]
    named = [
        slot - 1 for slot, (a, b) in zip(slots, row.offsets, strict=True) if any(a < y and x < b for x, y in SPANS)
    ]
    assert 0 < len(named) < len(slots)
    for positions, rows in {"response": slots - 1, "phrase": named, "last": slots[:1] - 1}.items():
        looked = scorer.look(one, [head], positions)
        assert looked.text == one.text
        np.testing.assert_allclose(looked.attention[head], on_image[rows].mean(0), rtol=0, atol=TOLERANCE)
    written = scorer.look(one, [head], "generated")
    assert written.text not in ("", one.text)
    told = dataclasses.replace(one, text=written.text, mentions=())
    np.testing.assert_allclose(
        written.attention[head], scorer.look(told, [head]).attention[head], rtol=0, atol=TOLERANCE
    )
    with pytest.raises(UnusableError, match="no tokens at the positions phrase"):
        scorer.look(told, [head], "phrase")


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", family_params())
def test_padded_head_impact_equals_eager_attention(name: str) -> None:
    family, one = tiny(name), sample(3, size_hw=(90, 120))
    # The second phrase names both objects, so the first object has the tokens of both phrases.
    one = dataclasses.replace(one, mentions=(Mention(SPANS[0], (0,)), Mention(SPANS[1], (0, 1))))
    longer = sample(4, text="a red square above a blue circle and a small green star")
    result = scored(family, [longer, one])[1]
    row, attention = eager_attention(family, one)
    slots, on_image = row.response_slots.numpy(), attention[..., row.image_slots.numpy()]
    second = [slot - 1 for slot, (start, _) in zip(slots, row.offsets, strict=True) if start >= SPANS[1][0]]
    first = [slot - 1 for slot, (_, end) in zip(slots, row.offsets, strict=True) if end <= SPANS[0][1]]
    rows = {"response": [slots - 1] * 2, "last": [slots[:1] - 1] * 2, "phrase": [first + second, second]}
    for positions, of_objects in rows.items():
        for layer, head in np.ndindex(LAYERS, HEADS):
            mean = [on_image[layer, head, of_object].mean(0) for of_object in of_objects]
            if min(values.sum() for values in mean) < 1e-6:
                continue  # a sliding layer whose window does not reach the image
            hi, soft = np.mean([overlaps(row, number, values) for number, values in enumerate(mean)], 0)
            assert result[positions]["hi"][layer, head] == pytest.approx(hi, abs=TOLERANCE), (positions, layer, head)
            assert result[positions]["hi_soft"][layer, head] == pytest.approx(soft, abs=TOLERANCE), (
                positions,
                layer,
                head,
            )


def overlaps(row: Any, number: int, attention: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """HI and soft HI of one object: the mean over views, by the slow formulas."""
    found = []
    for view in row.geometry.views:
        # Scorers receive it in float32.
        coverage = view.coverage(row.sample.masks[number : number + 1])[0].astype(np.float32).astype(np.float64)
        values, mask = attention[view.tokens], references.object_cells(coverage, 0.5)
        if mask:
            most = set(np.argsort(-values.ravel())[: len(mask)].tolist())
            found.append((references.iou(most, mask), references.soft(values, coverage)))
    return np.mean(found, 0)


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", family_params())
def test_padded_batch_scores_like_single_samples(name: str) -> None:
    family = tiny(name)
    samples = [sample(1), sample(2, text="a red square above a blue circle and a small green star")]
    together = scored(family, samples, positions=ALL_POSITIONS, max_new_tokens=4)
    for one, result in zip(samples, together, strict=True):
        [alone] = scored(family, [one], positions=ALL_POSITIONS, max_new_tokens=4)
        assert alone.keys() == result.keys()
        for positions in alone:
            for score in ("image_mass", "ram", "hi_soft"):
                if score in alone[positions]:
                    np.testing.assert_allclose(
                        result[positions][score], alone[positions][score], rtol=0, atol=TOLERANCE
                    )


def planted(layer: int, head: int) -> TinyFamily:
    """A LLaVA with one head that attends to bright red for any prompt: its query is fixed, its key encodes red."""
    family = tiny("llava")
    model = copy.deepcopy(family.model)
    attention = model.get_decoder().layers[layer].self_attn
    group = head // 2
    with torch.no_grad():
        direction = _red_direction(model, family.processor, layer)
        query = attention.q_proj.weight[head * HEAD_WIDTH : (head + 1) * HEAD_WIDTH]
        key = attention.k_proj.weight[group * HEAD_WIDTH : (group + 1) * HEAD_WIDTH]
        key.zero_()
        # The slowest pair of the rotary embedding hardly rotates over such a short sequence.
        slowest = HEAD_WIDTH // 2 - 1
        key[slowest] = direction * 8
        query.zero_()
        query[slowest] = _common_direction(model, family.processor, layer) * 8
    return TinyFamily("planted", model, family.processor)


def _inputs_of(model: Any, processor: Any, layer: int, samples: list[Sample]) -> tuple[Any, torch.Tensor]:
    encoder = Encoder(Dialogue(processor, model.config), "Describe the picture.")
    batch = encoder.encode(samples)
    caught: list[torch.Tensor] = []
    norm = model.get_decoder().layers[layer].input_layernorm
    hook = norm.register_forward_hook(lambda _module, _args, output: caught.append(output))
    model(**batch.inputs)
    hook.remove()
    return batch, caught[0]


def _red_direction(model: Any, processor: Any, layer: int) -> torch.Tensor:
    """The direction from the mean of other tokens to the mean of tokens that show a red square, unit length."""
    batch, states = _inputs_of(model, processor, layer, [sample(number) for number in range(16)])
    red, other = [], []
    for number, row in enumerate(batch.rows):
        view = row.geometry.views[0]
        inside = (view.coverage(row.sample.masks).max(0) > 0.5).ravel()
        on_image = states[number, row.image_slots]
        red.append(on_image[inside])
        other += [on_image[~inside], states[number, row.first_slot : row.image_slots[0]]]
        other.append(states[number, row.image_slots[-1] + 1 :])
    difference = torch.cat(red).mean(0) - torch.cat(other).mean(0)
    return difference / difference.norm()


def _common_direction(model: Any, processor: Any, layer: int) -> torch.Tensor:
    """The common direction of the states of response tokens, unit length."""
    batch, states = _inputs_of(model, processor, layer, [sample(number) for number in range(16)])
    mean = torch.cat([states[number, row.response_slots - 1] for number, row in enumerate(batch.rows)]).mean(0)
    return mean / mean.norm()


@pytest.mark.parametrize(("layer", "head"), [(0, 1), (2, 3)])
def test_planted_head_ranks_first(layer: int, head: int) -> None:
    family = planted(layer, head)
    results = scored(family, [sample(number) for number in range(100, 116)])
    for score in ("hi", "ram", "hi_lift", "pointing"):
        mean = np.mean([result["response"][score] for result in results], 0)
        assert np.unravel_index(mean.argmax(), mean.shape) in {(layer, head), (layer, head ^ 1)}
        assert mean[layer, head] == mean.max(), (score, mean.round(2))


@pytest.mark.numeric
def test_uniform_head_is_at_chance() -> None:
    family = tiny("llava")
    model = copy.deepcopy(family.model)
    with torch.no_grad():
        model.get_decoder().layers[1].self_attn.q_proj.weight[:HEAD_WIDTH] = 0
    results = scored(TinyFamily("flat", model, family.processor), [sample(number) for number in range(6)])
    for positions in ("response", "phrase", "last"):
        for result in results:
            values = {score: array[1, 0] for score, array in result[positions].items()}
            assert values["hi_lift"] == pytest.approx(0, abs=1e-6)
            assert values["hi"] == pytest.approx(values["hi_chance"], abs=1e-6)
            assert values["ram"] == pytest.approx(values["ram_chance"], abs=1e-6)
            assert values["image_mass"] == pytest.approx(values["image_mass_chance"], rel=1e-5)
            assert np.isnan(values["entropy"])


@pytest.mark.usefixtures("in_float64")
def test_unscorable_sample_does_not_affect_others() -> None:
    family = tiny("llava")
    samples = [sample(0), sample(1, text="a red </s> square"), sample(2, text="a red square " * 2000), sample(3)]
    results = Scorer(family.model, family.processor, ScoreOptions()).score(samples)
    assert [result.reason if isinstance(result, UnusableError) else None for result in results] == [
        None,
        DropReason.SPECIAL_TOKEN,
        DropReason.TEXT_TOO_LONG,
        None,
    ]
    [alone] = scored(family, [samples[3]])
    np.testing.assert_allclose(results[3]["response"]["hi"], alone["response"]["hi"], rtol=0, atol=TOLERANCE)  # type: ignore[index]


@pytest.mark.parametrize("name", family_params("qwen2_vl"))
def test_refused_image_does_not_affect_others(name: str) -> None:
    family = tiny(name)
    strip = sample(1, size_hw=(4, 1200), boxes=((0, 0, 400, 4),))
    results = Scorer(family.model, family.processor, ScoreOptions()).score([sample(0), strip, sample(2)])
    assert [result.reason if isinstance(result, UnusableError) else None for result in results] == [
        None,
        DropReason.TOO_NARROW,
        None,
    ]


@pytest.mark.parametrize("token", ["<image>", "</s>", "<row_2_col_1>", "<global-img>"])
def test_text_with_special_token_is_refused(token: str) -> None:
    family = tiny("idefics3")
    [result] = Scorer(family.model, family.processor, ScoreOptions()).score([sample(text=f"a red {token} square")])
    assert isinstance(result, UnusableError)
    assert (result.reason, token in result.detail) == (DropReason.SPECIAL_TOKEN, True)


def test_scores_cover_every_layer_and_head() -> None:
    [result] = scored(tiny("llava"), [sample()])
    assert {array.shape for scores in result.values() for array in scores.values()} == {(LAYERS, HEADS)}


@pytest.mark.parametrize(("model", "scores"), [("cpu", "cpu"), ("cuda:1", "cuda:1"), ("mps", "cpu"), ("mps:0", "cpu")])
def test_scores_use_the_models_device_with_float64(model: str, scores: str) -> None:
    assert device_of_scores(torch.device(model)) == torch.device(scores)
