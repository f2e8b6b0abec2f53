"""LoRA on heads: only the chosen heads change, initially, in training, saved, loaded and merged."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import Olmo2Config, Olmo2ForCausalLM, Phi3Config, Phi3ForCausalLM

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.selection import Selection
from datasetkit.hi_scoring.tuning.adapters import Adapted, adapt
from datasetkit.hi_scoring.tuning.head_slices import slices_of
from datasetkit.options.heads import AdapterOptions
from tests.hi_scoring.attention.running import LONG, SHORT, batch_of
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import HEAD_WIDTH, HEADS, LAYERS, TEXT

FAMILIES = family_params("llava", "llava_next", "paligemma", "gemma3", "idefics3")
# Groups are heads 0 and 1, heads 2 and 3. A whole group; part of a group; a whole group and part of another.
HEADS_OF = {0: (), 1: (0, 1), 2: (3,), 3: (0, 2, 3)}
CHOSEN = Selection.of_heads("mine", [Head(layer, head) for layer, heads in HEADS_OF.items() for head in heads])
# The rows of B that may change, or columns of A for o, by layer and projection.
OWN = {
    (1, "q_proj"): range(32),
    (1, "k_proj"): range(16),
    (1, "v_proj"): range(16),
    (1, "o_proj"): range(32),
    (2, "q_proj"): range(48, 64),
    (2, "o_proj"): range(48, 64),
    (3, "q_proj"): (*range(16), *range(32, 64)),
    (3, "k_proj"): range(16, 32),
    (3, "v_proj"): range(16, 32),
    (3, "o_proj"): (*range(16), *range(32, 64)),
}


def adapted_of(name: str, dtype: torch.dtype = torch.float32, **options: Any) -> Adapted:
    model = copy.deepcopy(tiny(name).model).to(dtype)
    return adapt(model, CHOSEN, AdapterOptions(rank=4, **options), seed=0)


def projections(model: Any) -> dict[tuple[int, str], Any]:
    """The adapted projections, by layer and name."""
    layers = model.get_decoder().layers
    return {(layer, name): getattr(layers[layer].self_attn, name) for layer, name in OWN}


def factors(model: Any) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Every factor of LoRA, and which of its entries may change, shape of the factor, bool."""
    for (layer, name), lora in projections(model).items():
        own = torch.zeros(lora.base_layer.in_features if name == "o_proj" else lora.base_layer.out_features).bool()
        own[list(OWN[layer, name])] = True
        first, second = lora.lora_A["default"].weight, lora.lora_B["default"].weight
        yield first, own[None, :].expand_as(first) if name == "o_proj" else torch.ones_like(first).bool()
        yield second, torch.ones_like(second).bool() if name == "o_proj" else own[:, None].expand_as(second)


def randomise(model: Any) -> None:
    """Set B to random values where it may be nonzero."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for (layer, name), lora in projections(model).items():
            weight = lora.lora_B["default"].weight
            weight.copy_(0.3 * torch.randn(weight.shape, generator=random))
            if name != "o_proj":
                own = torch.zeros(len(weight), 1)
                own[list(OWN[layer, name])] = 1
                weight.mul_(own)


def labelled(name: str) -> dict[str, Any]:
    inputs = batch_of(tiny(name), LONG, SHORT)
    return {**inputs, "labels": inputs["input_ids"]}


def calls_of(model: Any, inputs: dict[str, Any]) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The arguments of each layer's ``self_attn``."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    handles = [
        layer.self_attn.register_forward_pre_hook(
            lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
        )
        for layer in model.get_decoder().layers
    ]
    model(**inputs, use_cache=False)
    for handle in handles:
        handle.remove()
    return calls


def outputs_of_heads(attention: nn.Module, call: tuple[tuple[Any, ...], dict[str, Any]]) -> Tensor:
    """The head outputs before they are mixed, shape (B, Q, H, D)."""
    outputs: list[Tensor] = []
    handle = attention.o_proj.register_forward_pre_hook(lambda _, inputs: outputs.append(inputs[0]))
    attention(*call[0], **call[1])
    handle.remove()
    return outputs[0].unflatten(-1, (HEADS, HEAD_WIDTH))


def contributions(attention: nn.Module, outputs: Tensor) -> Tensor:
    """The output of o for each head separately, shape (H, B, Q, width of the model)."""
    alone = torch.eye(HEADS, dtype=outputs.dtype)[:, None, None, :, None] * outputs
    return attention.o_proj(alone.flatten(-2))


@pytest.mark.parametrize("name", FAMILIES)
def test_modules_and_parameter_counts_match_heads(name: str) -> None:
    adapted = adapted_of(name)
    layers = next(found for found, one in adapted.model.base_model.model.named_modules() if one is _layers(adapted))
    assert adapted.modules == tuple(f"{layers}.{layer}.self_attn.{projection}" for layer, projection in OWN)
    # Of rank 4, in layer 1: q has A of 64 columns, B of 32 rows; k and v have 64, 16; o has 32, 64.
    first = 4 * (64 + 32) + 2 * 4 * (64 + 16) + 4 * (32 + 64)
    second = 4 * (64 + 16) + 4 * (16 + 64)
    third = 4 * (64 + 48) + 2 * 4 * (64 + 16) + 4 * (48 + 64)
    assert adapted.trainable == first + second + third
    assert adapted.parameters == sum(parameter.numel() for parameter in tiny(name).model.parameters())


def _layers(adapted: Adapted) -> nn.Module:
    return adapted.model.base_model.model.get_decoder().layers


@pytest.mark.numeric
@pytest.mark.parametrize("name", FAMILIES)
def test_only_outputs_of_chosen_heads_change(name: str) -> None:
    base, adapted = tiny(name).model, adapted_of(name)
    randomise(adapted.model)
    with torch.no_grad():
        calls = calls_of(base, batch_of(tiny(name), LONG, SHORT))
        assert len(calls) == LAYERS
        for layer, (call, plain, tuned) in enumerate(
            zip(calls, base.get_decoder().layers, _layers(adapted), strict=True)
        ):
            before, after = (outputs_of_heads(one.self_attn, call) for one in (plain, tuned))
            assert changed((after - before).movedim(2, 0)) == HEADS_OF[layer]
            mixed = contributions(tuned.self_attn, before) - contributions(plain.self_attn, before)
            assert changed(mixed) == HEADS_OF[layer]


def changed(differences: Tensor) -> tuple[int, ...]:
    """Which heads differ, of shape (H, ...): by more than rounding, while the others do not differ at all."""
    largest = differences.flatten(1).abs().amax(1)
    assert ((largest == 0) | (largest > 1e-3)).all()
    return tuple(torch.nonzero(largest).flatten().tolist())


@pytest.mark.parametrize("name", FAMILIES)
def test_training_leaves_everything_else_at_zero(name: str, tmp_path: Path) -> None:
    adapted = adapted_of(name)
    for factor, own in factors(adapted.model):
        assert not factor[~own].any()
    assert all(factor[own].all() for factor, own in list(factors(adapted.model))[::2])
    adapted.model.save_pretrained(str(tmp_path))
    # Like a trainer that resumes from a checkpoint.
    adapted.model.load_adapter(str(tmp_path), "default", is_trainable=True)
    randomise(adapted.model)
    trained = [parameter for parameter in adapted.model.parameters() if parameter.requires_grad]
    before = [factor.detach().clone() for factor, _ in factors(adapted.model)]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    inputs = labelled(name)
    for _ in range(3):
        optimizer.zero_grad()
        adapted.model(**inputs).loss.backward()
        for factor, own in factors(adapted.model):
            assert not factor.grad[~own].any()
            assert factor.grad[own].any()
        optimizer.step()
    for (factor, own), former in zip(factors(adapted.model), before, strict=True):
        assert not factor[~own].any()
        assert (factor != former)[own].all()
    assert sum(int(own.sum()) for _, own in factors(adapted.model)) == adapted.trainable


def test_infinite_gradients_stay_in_their_slices() -> None:
    adapted = adapted_of("llava")
    for factor, own in factors(adapted.model):
        (factor.sum() * math.inf).backward()
        assert factor.grad[own].isinf().all()
        assert not factor.grad[~own].any()


@pytest.mark.numeric
@pytest.mark.parametrize("name", FAMILIES)
def test_slices_save_load_and_merge_like_lora(name: str, tmp_path: Path) -> None:
    # In float64, so that differences are not rounding.
    base, adapted = (
        copy.deepcopy(tiny(name).model).double(),
        adapted_of(name, torch.float64, settings={"use_rslora": True}),
    )
    randomise(adapted.model)
    inputs = {key: one.double() if one.is_floating_point() else one for key, one in batch_of(tiny(name), LONG).items()}
    with torch.no_grad():
        plain, logits = base(**inputs).logits, adapted.model(**inputs).logits
        assert (logits - plain).abs().max() > 1e-3
        adapted.model.save_pretrained(str(tmp_path))
        assert (tmp_path / "adapter_model.safetensors").exists()
        loaded = PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path)).eval()
        torch.testing.assert_close(loaded(**inputs).logits, logits, rtol=0, atol=1e-12)
        merged = loaded.merge_and_unload()
        torch.testing.assert_close(merged(**inputs).logits, logits, rtol=0, atol=1e-9)
    for (layer, projection), own in OWN.items():
        first, second = (
            getattr(one.get_decoder().layers[layer].self_attn, projection).weight for one in (base, merged)
        )
        differs = (first != second).any(0 if projection == "o_proj" else 1)
        assert torch.nonzero(differs).flatten().tolist() == list(own)


def test_single_modules_may_have_another_rank() -> None:
    adapted = adapted_of("llava", settings={"rank_pattern": {r"layers\.2\.self_attn\.q_proj": 1}})
    assert adapted.trainable == adapted_of("llava").trainable - 3 * (64 + 16)


def test_keys_and_values_need_a_whole_group() -> None:
    options = AdapterOptions(targets=("k_proj", "v_proj"))
    model = copy.deepcopy(tiny("llava").model)
    with pytest.raises(ModelError, match="mine leaves nothing of k_proj, v_proj: no group of query heads is selected"):
        adapt(model, Selection.of_heads("mine", [Head(1, 0), Head(1, 2)]), options, seed=0)
    adapted = adapt(model, Selection.of_heads("mine", [Head(1, 0), Head(1, 1), Head(2, 3)]), options, seed=0)
    assert adapted.modules == tuple(f"model.language_model.layers.1.self_attn.{name}" for name in options.targets)


def test_missing_head_is_refused() -> None:
    selection = Selection.of_heads("mine", [Head(1, 3), Head(1, 4)])
    with pytest.raises(ModelError, match=r"heads \[4\] were selected; the layer has 4, counted from 0"):
        adapt(copy.deepcopy(tiny("llava").model), selection, AdapterOptions(), seed=0)


@pytest.mark.parametrize(
    ("model_class", "config", "targets", "message"),
    [
        (Phi3ForCausalLM, Phi3Config, ("o_proj",), r"Phi3Attention has no four linear projections .* may be fused"),
        (Olmo2ForCausalLM, Olmo2Config, ("q_proj",), "q_norm of Olmo2Attention works across heads, not on the 16"),
    ],
)
def test_layers_with_inseparable_heads_are_refused(
    model_class: Any, config: Any, targets: tuple[str, ...], message: str
) -> None:
    model = model_class(config(**TEXT, vocab_size=9, pad_token_id=0))
    with pytest.raises(ModelError, match=message):
        adapt(model, CHOSEN, AdapterOptions(targets=targets), seed=0)


@pytest.mark.parametrize("features", [(128, 32, 32, 64), (64, 32, 16, 64), (64, 48, 48, 64), (64, 8, 8, 64)])
def test_projections_of_other_sizes_are_refused(features: tuple[int, int, int, int]) -> None:
    attention = nn.Module()
    attention.q_proj, attention.k_proj, attention.v_proj = (nn.Linear(64, count) for count in features[:3])
    attention.o_proj = nn.Linear(features[3], 64)
    with pytest.raises(ModelError, match=f"has {', '.join(map(str, features))} features in q, k, v and o"):
        slices_of(attention, [0], HEADS)
