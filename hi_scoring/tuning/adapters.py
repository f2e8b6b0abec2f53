"""Adapters of PEFT on selected layers or heads. Owns how a selection becomes one, and that it is nothing more.

peft finds modules by how their names end, which those of a vision tower may do, too. So they are found by identity,
given to it by their full names, and what it did is compared with what was asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from datasetkit.core.errors import ModelError, RecipeError
from datasetkit.hi_scoring.selection import Selection
from datasetkit.hi_scoring.tuning.head_slices import Slice, confine, slices_of
from datasetkit.options.heads import PROJECTIONS, AdapterOptions
from datasetkit.runtime.packages import PEFT, require

if TYPE_CHECKING:
    from peft import PeftModel

_ADAPTER = "default"
# The parts of a layer that targets are attributes of.
_PARTS = ("self_attn", "mlp")
# Fields of peft's configurations that an option of ours stands for.
_FIELDS = {"rank": ("r",), "alpha": ("lora_alpha", "alpha"), "dropout": ("lora_dropout",)}
# Fields that say what is adapted, which the selection and the targets say here.
_PLACES = frozenset(
    {
        "exclude_modules",
        "layer_replication",
        "layers_pattern",
        "layers_to_transform",
        "modules_to_save",
        "target_modules",
        "target_parameters",
        "trainable_token_indices",
    }
)
# Fields of LoRA that leave its update B A times a number.
_PLAIN = frozenset({"alpha_pattern", "rank_pattern", "use_rslora"})
# What peft's methods say of modules and models that they cannot take.
_REFUSALS = (AttributeError, NotImplementedError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Adapted:
    """A model with an adapter on it.

    Args:
        model: peft's, around the model that was given.
        modules: full names of the adapted modules in that model, by layer and target.
        trainable: how many numbers training can change; of LoRA on heads, those in the heads' slices.
        parameters: how many the model has without the adapter.

    """

    model: PeftModel
    modules: tuple[str, ...]
    trainable: int
    parameters: int

    @property
    def share(self) -> float:
        """Trainable numbers for each parameter of the model."""
        return self.trainable / self.parameters


def adapt(model: Any, selection: Selection, options: AdapterOptions, seed: int) -> Adapted:
    """Put an adapter on the selected layers or heads of a model's language model; all else is frozen.

    To train on what was saved, adapt a fresh model alike and load the weights into that (``load_adapter``): what peft
    loads by itself is not confined to heads any more, though its weights are.

    Args:
        model: of transformers; it is changed in place, and where this raises a ModelError from peft's work on it, it
            has to be loaded anew.
        selection: what is adapted.
        options: how.
        seed: of the adapter's first weights, which depend on nothing else; torch's generators are left as they were.

    Returns:
        the adapted model, in the mode (training or evaluation) that it was in.

    Raises:
        MissingPackageError: peft does not work here.
        RecipeError: see :func:`check`.
        ModelError: the model has an adapter already, or lacks what was selected; peft cannot adapt it so, or adapted
            something else.

    """
    check(options, selection)
    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise ModelError(f"this {type(model).__name__} has an adapter already; merge, unload or load it anew")
    wanted, slices = _found(model, selection, options.targets)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    config = _configuration(options, list(wanted))
    try:
        with _seeded(seed):
            adapted = get_peft_model(model, config, adapter_name=_ADAPTER)
    except _REFUSALS as error:
        raise ModelError(f"peft cannot put {options.method} on {selection.name}: {error}") from error
    _verify(model, wanted.keys())
    # What peft adds is in training mode, its dropout, too.
    adapted.train(model.training)
    # peft keeps a set, and shortens it where it is long: what it saves would depend on the order of hashes.
    config.target_modules = list(wanted)
    fixed = sum(confine(model.get_submodule(name), part, _ADAPTER) for name, part in slices.items())
    trainable = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad) - fixed
    if not trainable:
        raise ModelError(f"{options.method} trains nothing in {', '.join(options.targets)}; choose another method")
    return Adapted(adapted, tuple(wanted), trainable, parameters)


def check(options: AdapterOptions, selection: Selection) -> None:
    """Refuse what can be refused without the model.

    Raises:
        MissingPackageError: peft does not work here.
        RecipeError: no such method adapts chosen modules, it has no such setting or no place for a value, or it cannot
            be confined to heads.

    """
    require("tuning", PEFT)
    known = _fields_of(options.method)
    for option, names in _FIELDS.items():
        value, default = getattr(options, option), AdapterOptions.model_fields[option].default
        if value != default and known.keys().isdisjoint(names):
            raise RecipeError(f"{options.method} has no {option}, but {value} was given; leave it out")
    settable = sorted(known.keys() - _PLACES - {name for names in _FIELDS.values() for name in names})
    for name in options.settings:
        if name in _PLACES:
            raise RecipeError(f"settings.{name} says what is adapted; the selection and targets say that")
        if name not in settable:
            raise RecipeError(f"{options.method} has no setting {name}; known: {', '.join(settable)}")
    if selection.heads is not None:
        _check_for_heads(options, known)


def _check_for_heads(options: AdapterOptions, known: Mapping[str, dataclasses.Field[Any]]) -> None:
    """Refuse what is not LoRA on q, k, v and o whose update is B A: it could not be confined to rows and columns."""
    if options.method != "LORA":
        raise RecipeError(f"{options.method} cannot be confined to heads, LORA can; select layers for others")
    if others := [target for target in options.targets if target not in PROJECTIONS]:
        raise RecipeError(
            f"targets {', '.join(others)} have no parts that belong to heads; those that have: {', '.join(PROJECTIONS)}"
        )
    for name, value in options.settings.items():
        if name not in _PLAIN and value != _default(known[name]):
            raise RecipeError(
                f"LORA with settings.{name} = {value!r} cannot be confined to heads; those that can be set for them: "
                f"{', '.join(sorted(_PLAIN))}"
            )


def _fields_of(method: str) -> dict[str, dataclasses.Field[Any]]:
    """Give the fields that a method's configuration takes, by name."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    methods = {
        str(kind.value): {one.name: one for one in dataclasses.fields(config) if one.init}
        for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()
    }
    methods = {name: known for name, known in methods.items() if "target_modules" in known}
    if method not in methods:
        raise RecipeError(
            f"no method of peft that adapts chosen modules is called {method}; known: {', '.join(methods)}"
        )
    return methods[method]


def _default(one: dataclasses.Field[Any]) -> Any:
    return one.default if one.default_factory is dataclasses.MISSING else one.default_factory()


def _configuration(options: AdapterOptions, names: list[str]) -> Any:
    """Make the method's configuration of peft."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType

    known = _fields_of(options.method)
    given: dict[str, Any] = {"target_modules": names}
    for option, candidates in _FIELDS.items():
        given |= {name: getattr(options, option) for name in candidates if name in known}
    if "feedforward_modules" in known:
        # IA3 scales what these take in. It knows no default for models of images and text.
        given["feedforward_modules"] = [name for name in names if name.endswith(".down_proj")]
    try:
        return PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(options.method)](**given, **options.settings)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{options.method} does not take these settings: {error}") from error


def _found(model: Any, selection: Selection, targets: tuple[str, ...]) -> tuple[dict[str, nn.Module], dict[str, Slice]]:
    """Find the projections to adapt by their full names, and for heads the slice of each."""
    names = {id(module): name for name, module in model.named_modules()}
    decoder = model.get_decoder()
    layers = decoder.layers
    if selection.layers[-1] >= len(layers):
        raise ModelError(
            f"{selection.name} selects layers {selection.layers}, the language model of this {type(model).__name__} "
            f"has {len(layers)}, counted from 0; select of this model"
        )
    wanted: dict[str, nn.Module] = {}
    slices: dict[str, Slice] = {}
    for number in selection.layers:
        layer, heads = layers[number], selection.heads_in(number)
        projections = {target: _projection(layer, number, target) for target in targets}
        if heads is not None:
            parts = slices_of(layer.self_attn, heads, decoder.config.num_attention_heads)
            projections = {target: projection for target, projection in projections.items() if target in parts}
            slices |= {names[id(projection)]: parts[target] for target, projection in projections.items()}
        wanted |= {names[id(projection)]: projection for projection in projections.values()}
    if not wanted:
        raise ModelError(
            f"{selection.name} leaves nothing of {', '.join(targets)}: no group of query heads is selected whole, and "
            "a part of one shares its keys and values with the rest; add q_proj or o_proj to the targets"
        )
    return wanted, slices


def _projection(layer: nn.Module, number: int, target: str) -> nn.Module:
    parts = [getattr(layer, part) for part in _PARTS if hasattr(layer, part)]
    for part in parts:
        if isinstance(projection := getattr(part, target, None), nn.Module):
            return projection
    had = [name for part in parts for name, module in part.named_children() if isinstance(module, nn.Linear)]
    raise ModelError(
        f"layer {number} ({type(layer).__name__}) has no projection {target}; it has: {', '.join(had) or 'none'}"
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch for the body alone."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def _verify(model: nn.Module, wanted: Set[str]) -> None:
    """Refuse an adapter that is not on exactly the wanted modules, or lets anything else be trained."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = {name for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    if different := sorted(adapted ^ wanted):
        raise ModelError(
            f"peft adapted {len(adapted)} modules where {len(wanted)} were selected; not in both: "
            f"{', '.join(different)}; load the model anew and choose another method"
        )
    inside = tuple(f"{name}." for name in wanted)
    outside = [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and not name.startswith(inside)
    ]
    if outside:
        raise ModelError(
            f"{len(outside)} parameters outside of what was selected could be trained, such as {outside[0]}; load the "
            "model anew and choose other settings"
        )
