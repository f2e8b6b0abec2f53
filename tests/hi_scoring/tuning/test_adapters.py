"""Adapters on layers of real models: modules, numbers of parameters, refusals."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import ValidationError
from torch import nn
from transformers import Lfm2Config, Lfm2ForCausalLM, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

from datasetkit.core.errors import MissingPackageError, ModelError, RecipeError
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.selection import Selection
from datasetkit.hi_scoring.tuning.adapters import adapt, check
from datasetkit.options.heads import AdapterOptions
from tests.hi_scoring.attention.running import LONG, SHORT, batch_of
from tests.hi_scoring.tiny_models import family_params, tiny
from tests.hi_scoring.tiny_parts import LAYERS, TEXT

FAMILIES = family_params("llava", "llava_next", "paligemma", "gemma3", "idefics3")
DECODERS = {
    "llava": "model.language_model",
    "llava_next": "model.language_model",
    "paligemma": "model.language_model",
    "gemma3": "model.language_model",
    "idefics3": "model.text_model",
}
SOME = Selection("layers:1,3", (1, 3))
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
# Inputs and outputs of q, k, v and o of a layer: 64 + 64, 64 + 32, 64 + 32, 64 + 64.
FEATURES = 448


def fresh(name: str = "llava") -> Any:
    return copy.deepcopy(tiny(name).model)


def modules_of(name: str, layers: tuple[int, ...], targets: tuple[str, ...] = ATTENTION) -> tuple[str, ...]:
    return tuple(f"{DECODERS[name]}.layers.{layer}.self_attn.{target}" for layer in layers for target in targets)


def trainable_names(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", FAMILIES)
def test_lora_is_only_on_selected_language_layers(name: str) -> None:
    model = fresh(name)
    before = sum(parameter.numel() for parameter in model.parameters())
    # A vision tower has modules of the same names.
    ends = ("layers.1.self_attn.q_proj", "layers.1.self_attn.k_proj")
    assert sum(module.endswith(ends) for module, _ in model.named_modules()) == 4
    adapted = adapt(model, SOME, AdapterOptions(rank=4), seed=0)
    assert adapted.modules == modules_of(name, (1, 3))
    assert {found for found, one in model.named_modules() if isinstance(one, BaseTunerLayer)} == set(adapted.modules)
    assert trainable_names(model) == {
        f"{module}.lora_{factor}.default.weight" for module in adapted.modules for factor in "AB"
    }
    assert adapted.trainable == 2 * 4 * FEATURES
    assert adapted.parameters == before
    assert adapted.share == 2 * 4 * FEATURES / before


@pytest.mark.parametrize("name", FAMILIES)
def test_all_layers_are_adapted_with_long_target_lists(name: str, tmp_path: Path) -> None:
    model = fresh(name)
    targets = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
    every = Selection("all", tuple(range(LAYERS)))
    adapted = adapt(model, every, AdapterOptions(rank=1, targets=targets), seed=0)
    decoder = DECODERS[name]
    expected = {f"{decoder}.layers.{layer}.mlp.{target}" for layer in range(LAYERS) for target in targets[4:]}
    assert set(adapted.modules) == expected | set(modules_of(name, every.layers))
    # gate, up and down: 64 + 64 each.
    assert adapted.trainable == LAYERS * (FEATURES + 3 * 128)
    adapted.model.save_pretrained(str(tmp_path))
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert saved["target_modules"] == list(adapted.modules)


def test_lora_has_pefts_rank_alpha_and_dropout() -> None:
    model = fresh()
    adapted = adapt(model, SOME, AdapterOptions(rank=4, alpha=12, dropout=0.25, targets=("v_proj",)), seed=0)
    layer = model.get_submodule(adapted.modules[1])
    assert adapted.modules == modules_of("llava", (1, 3), ("v_proj",))
    assert layer.scaling == {"default": 3.0}
    assert layer.lora_dropout["default"].p == 0.25
    assert layer.lora_A["default"].weight.shape == (4, 64)
    assert layer.lora_B["default"].weight.shape == (32, 4)
    assert not layer.lora_B["default"].weight.any()


@pytest.mark.parametrize("training", [False, True])
def test_model_keeps_its_mode(training: bool) -> None:
    adapted = adapt(fresh().train(training), SOME, AdapterOptions(dropout=0.5), seed=0)
    assert {module.training for module in adapted.model.modules()} == {training}


def test_initial_weights_depend_only_on_the_seed() -> None:
    weights = []
    for seed, state in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(state)
        model = fresh()
        adapt(model, SOME, AdapterOptions(), seed)
        weights.append({name: one.detach() for name, one in model.named_parameters() if "lora_A" in name})
        drawn = torch.rand(3)
        torch.manual_seed(state)
        assert torch.equal(drawn, torch.rand(3))
    first, again, other = weights
    assert len(first) == 8
    for name, weight in first.items():
        assert torch.equal(weight, again[name])
        assert not torch.equal(weight, other[name])


@pytest.mark.parametrize(
    ("options", "trainable"),
    [
        # Two products of two factors each.
        ({"method": "LOHA", "rank": 4}, 2 * 2 * 4 * FEATURES),
        ({"method": "loha", "rank": 4, "alpha": 4}, 2 * 2 * 4 * FEATURES),
        # One parameter per output.
        ({"method": "IA3"}, 2 * (64 + 32 + 32 + 64)),
        # For down_proj, one per input.
        ({"method": "ia3", "targets": ("k_proj", "v_proj", "down_proj")}, 2 * (32 + 32 + 64)),
        # LoRA, plus a magnitude per output.
        ({"settings": {"use_dora": True}}, 2 * (8 * FEATURES + 64 + 32 + 32 + 64)),
        # Shared projections are frozen; vectors over rank and outputs are trained.
        ({"method": "VERA", "rank": 5}, 2 * (4 * 5 + 64 + 32 + 32 + 64)),
        ({"method": "OFT", "targets": ("q_proj",), "settings": {"oft_block_size": 0}}, 2 * 8 * (8 * 7 // 2)),
    ],
    ids=str,
)
def test_other_methods_and_settings_work_by_name(options: dict[str, Any], trainable: int) -> None:
    adapted = adapt(fresh(), SOME, AdapterOptions(**options), seed=0)
    assert adapted.trainable == trainable


def test_ia3_scales_inputs_of_down_projections() -> None:
    model = fresh()
    adapt(model, SOME, AdapterOptions(method="IA3", targets=("v_proj", "down_proj")), seed=0)
    layer = model.get_decoder().layers[1]
    assert not layer.self_attn.v_proj.is_feedforward
    assert layer.mlp.down_proj.is_feedforward


@pytest.mark.numeric
@pytest.mark.parametrize("options", [{}, {"method": "LOHA"}, {"settings": {"use_dora": True}}], ids=str)
def test_saved_adapter_loads_and_merges_equally(options: dict[str, Any], tmp_path: Path) -> None:
    # In float64, so that differences are not rounding.
    inputs = batch_of(tiny("llava"), LONG, SHORT)
    inputs["pixel_values"] = inputs["pixel_values"].double()
    base = fresh().double()
    adapted = adapt(fresh().double(), SOME, AdapterOptions(**options), seed=0)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
        logits = adapted.model(**inputs).logits
        assert (logits - base(**inputs).logits).abs().max() > 1e-3
        adapted.model.save_pretrained(str(tmp_path))
        assert (tmp_path / "adapter_model.safetensors").exists()
        loaded = PeftModel.from_pretrained(base, str(tmp_path)).eval()
        torch.testing.assert_close(loaded(**inputs).logits, logits, rtol=0, atol=1e-12)
        merged = loaded.merge_and_unload()
        torch.testing.assert_close(merged(**inputs).logits, logits, rtol=0, atol=1e-9)


def test_defaults_are_those_of_the_methods() -> None:
    assert AdapterOptions().model_dump() == {
        "method": "LORA",
        "rank": 8,
        "alpha": 16,
        "dropout": 0.0,
        "targets": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "settings": {},
    }


def test_options_survive_json() -> None:
    options = AdapterOptions(method="loha", targets=("up_proj",), settings={"module_dropout": 0.1})
    assert options.method == "LOHA"
    assert AdapterOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"alpha": 0},
        {"dropout": -0.1},
        {"dropout": 1.0},
        {"targets": ()},
        {"targets": ("q_proj", "q_proj")},
        {"target_modules": ("q_proj",)},
    ],
    ids=str,
)
def test_options_out_of_range_or_unknown_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AdapterOptions.model_validate(wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "LORAX"}, "is called LORAX; known: LORA, .*IA3"),
        # It does not accept modules.
        ({"method": "PREFIX_TUNING"}, "is called PREFIX_TUNING; known: LORA"),
        ({"method": "IA3", "rank": 4}, "IA3 has no rank, but 4 was given"),
        ({"method": "IA3", "alpha": 4}, "IA3 has no alpha, but 4 was given"),
        ({"method": "LOHA", "dropout": 0.1}, "LOHA has no dropout, but 0.1 was given"),
        ({"settings": {"use_doora": True}}, "LORA has no setting use_doora; known: .*use_dora, "),
        ({"settings": {"r": 4}}, "LORA has no setting r; known: "),
        ({"method": "LOHA", "settings": {"use_dora": True}}, "LOHA has no setting use_dora; known: .*rank_dropout"),
        ({"settings": {"modules_to_save": ["lm_head"]}}, "settings.modules_to_save chooses modules"),
        ({"settings": {"target_modules": "all-linear"}}, "settings.target_modules chooses modules"),
        ({"settings": {"trainable_token_indices": [1]}}, "settings.trainable_token_indices chooses modules"),
        ({"settings": {"layer_replication": [[0, 4]]}}, "settings.layer_replication chooses modules"),
    ],
    ids=str,
)
def test_unfitting_settings_are_refused_without_a_model(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check(AdapterOptions(**options), SOME)


def test_pefts_error_on_settings_is_passed_on() -> None:
    with pytest.raises(RecipeError, match="OFT does not accept these settings: You can only specify either r"):
        adapt(fresh(), SOME, AdapterOptions(method="OFT"), seed=0)


def test_missing_peft_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingPackageError, match=r"tuning needs peft.*pip install .*\[tune\]'"):
        check(AdapterOptions(), SOME)


@pytest.mark.parametrize(
    ("selection", "options", "message"),
    [
        (Selection("layers:1,4", (1, 4)), {}, r"layers:1,4 selects layers \(1, 4\).* has 4, counted from 0"),
        (
            SOME,
            {"targets": ("q_proj", "qkv_proj")},
            "layer 1 .* has no projection qkv_proj; it has: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_",
        ),
        (SOME, {"targets": ("config",)}, "layer 1 .* has no projection config"),
        (SOME, {"method": "C3A"}, "peft cannot apply C3A to layers:1,3: The block size should be a factor"),
        (SOME, {"method": "TRAINABLE_TOKENS"}, "TRAINABLE_TOKENS trains nothing in q_proj, k_proj, v_proj, o_proj"),
        # Every bias of the vision tower.
        (SOME, {"settings": {"bias": "all"}}, "parameters outside of the selection are trainable, such as mod"),
    ],
    ids=str,
)
def test_missing_modules_or_other_changes_are_refused(
    selection: Selection, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        adapt(fresh(), selection, AdapterOptions(**options), seed=0)


def test_a_second_adapter_is_refused() -> None:
    model = fresh()
    first = adapt(model, SOME, AdapterOptions(), seed=0)
    for given in (model, first.model):
        with pytest.raises(ModelError, match="already has an adapter"):
            adapt(given, SOME, AdapterOptions(), seed=0)
    assert adapt(first.model.unload(), SOME, AdapterOptions(), seed=0).trainable == first.trainable


class Twins(nn.Module):
    """Two language models whose modules' full names end alike; the second one counts."""

    def __init__(self) -> None:
        super().__init__()
        config = LlamaConfig(**TEXT, vocab_size=9)
        self.other = nn.ModuleDict({"model": LlamaForCausalLM(config).model})
        self.model = LlamaForCausalLM(config).model

    def get_decoder(self) -> nn.Module:
        return self.model


def test_extra_adapted_modules_are_noticed() -> None:
    with pytest.raises(ModelError, match=r"adapted 2 modules where 1 were selected; not in both: other\.model\.layers"):
        adapt(Twins(), Selection("layers:1", (1,)), AdapterOptions(targets=("q_proj",)), seed=0)


@pytest.mark.parametrize("heads", [None, (Head(1, 0),)], ids=str)
def test_layers_without_attention_are_refused(heads: tuple[Head, ...] | None) -> None:
    kinds = ["full_attention", "conv", "conv", "full_attention"]
    model = Lfm2ForCausalLM(Lfm2Config(**TEXT, vocab_size=9, layer_types=kinds))
    with pytest.raises(ModelError, match=r"layer 1 \(Lfm2DecoderLayer\) has no projection q_proj; it has: none"):
        adapt(model, Selection("mine", (1,), heads), AdapterOptions(targets=("q_proj",)), seed=0)


def test_fused_projections_are_adapted_in_whole_layers() -> None:
    model = Phi3ForCausalLM(Phi3Config(**TEXT, vocab_size=9, pad_token_id=0))
    adapted = adapt(model, SOME, AdapterOptions(targets=("qkv_proj",)), seed=0)
    assert adapted.modules == ("model.layers.1.self_attn.qkv_proj", "model.layers.3.self_attn.qkv_proj")
    assert adapted.trainable == 2 * 8 * (64 + 64 + 32 + 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "LOHA"}, "LOHA cannot be confined to heads, only LORA can; select layers"),
        ({"method": "IA3"}, "IA3 cannot be confined to heads"),
        ({"targets": ("q_proj", "up_proj")}, "targets up_proj have no parts that belong to heads; .* q_proj, k_proj"),
        ({"settings": {"use_dora": True}}, "LORA with settings.use_dora = True cannot be confined to heads"),
        ({"settings": {"lora_bias": True}}, "settings.lora_bias = True cannot be confined"),
        ({"settings": {"bias": "lora_only"}}, "settings.bias = 'lora_only' cannot be confined"),
        ({"settings": {"init_lora_weights": "pissa"}}, "settings.init_lora_weights = 'pissa' cannot be confined"),
        ({"settings": {"init_lora_weights": False}}, "settings.init_lora_weights = False cannot be confined"),
        ({"settings": {"alora_invocation_tokens": [1]}}, "settings.alora_invocation_tokens = .1. cannot be confined"),
    ],
    ids=str,
)
def test_unconfinable_options_are_refused_without_a_model(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check(AdapterOptions(**options), Selection.of_heads("mine", [Head(0, 0)]))


def test_explicit_defaults_are_allowed_for_heads() -> None:
    settings = {"use_dora": False, "bias": "none", "init_lora_weights": True, "use_rslora": True, "rank_pattern": {}}
    check(AdapterOptions(settings=settings), Selection.of_heads("mine", [Head(0, 0)]))
