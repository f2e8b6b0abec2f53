"""PEFT adapters on selected layers or heads. Owns how a selection becomes an adapter, and that it changes nothing else.

peft finds modules by the end of their names, which may also match modules of a vision tower. So modules are found by
identity and passed to peft by their full names, and its result is compared with the selection.
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
# The submodules of a layer that have the targets as attributes.
_PARTS = ("self_attn", "mlp")
# Fields of peft's configurations that are set by one of our options.
_FIELDS = {"rank": ("r",), "alpha": ("lora_alpha", "alpha"), "dropout": ("lora_dropout",)}
# Fields that choose the adapted modules, which the selection and the targets do here.
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
# Fields of LoRA with which its update remains B A times a number.
_PLAIN = frozenset({"alpha_pattern", "rank_pattern", "use_rslora"})
# Errors of peft's methods for modules and models that they do not support.
_REFUSALS = (AttributeError, NotImplementedError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Adapted:
    """A model with an adapter.

    Args:
        model: peft's model, which wraps the original one.
        modules: full names of the adapted modules in that model, by layer and target.
        trainable: number of trainable parameters; for LoRA on heads, those in the heads' slices.
        parameters: number of parameters of the model without the adapter.

    """

    model: PeftModel
    modules: tuple[str, ...]
    trainable: int
    parameters: int

    @property
    def share(self) -> float:
        """The trainable parameters as a share of the model's parameters."""
        return self.trainable / self.parameters


def adapt(model: Any, selection: Selection, options: AdapterOptions, seed: int) -> Adapted:
    """Add an adapter to the selected layers or heads of a model's language model; everything else is frozen.

    To continue training a saved adapter, adapt a fresh model in the same way and load the weights into it
    (``load_adapter``): an adapter loaded by peft alone is not confined to heads any more, although its weights are.

    Args:
        model: a transformers model; it is changed in place, and if this raises a ModelError from peft, it has to be
            loaded again.
        selection: the layers or heads to adapt.
        options: the method and its settings.
        seed: seed of the adapter's initial weights, which depend on nothing else; torch's generators are not changed.

    Returns:
        the adapted model, still in its mode (training or evaluation).

    Raises:
        MissingPackageError: peft does not work here.
        RecipeError: see :func:`check`.
        ModelError: the model already has an adapter, or lacks what was selected; peft cannot adapt it this way, or
            adapted something else.

    """
    check(options, selection)
    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise ModelError(f"this {type(model).__name__} already has an adapter; merge, unload, or load it again")
    wanted, slices = _found(model, selection, options.targets)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    config = _configuration(options, list(wanted))
    try:
        with _seeded(seed):
            adapted = get_peft_model(model, config, adapter_name=_ADAPTER)
    except _REFUSALS as error:
        raise ModelError(f"peft cannot apply {options.method} to {selection.name}: {error}") from error
    _verify(model, wanted.keys())
    # Modules added by peft are in training mode, including their dropout.
    adapted.train(model.training)
    # peft keeps a set, and shortens a long one: saved files would depend on the order of hashes.
    config.target_modules = list(wanted)
    fixed = sum(confine(model.get_submodule(name), part, _ADAPTER) for name, part in slices.items())
    trainable = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad) - fixed
    if not trainable:
        raise ModelError(f"{options.method} trains nothing in {', '.join(options.targets)}; choose another method")
    return Adapted(adapted, tuple(wanted), trainable, parameters)


def check(options: AdapterOptions, selection: Selection) -> None:
    """Refuse impossible options before the model is loaded.

    Raises:
        MissingPackageError: peft does not work here.
        RecipeError: there is no such method for chosen modules, it has no such setting or does not accept a value, or
            it cannot be confined to heads.

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
            raise RecipeError(f"settings.{name} chooses modules, as the selection and targets do; leave it out")
        if name not in settable:
            raise RecipeError(f"{options.method} has no setting {name}; known: {', '.join(settable)}")
    if selection.heads is not None:
        _check_for_heads(options, known)


def _check_for_heads(options: AdapterOptions, known: Mapping[str, dataclasses.Field[Any]]) -> None:
    """Refuse everything except LoRA on q, k, v and o with update B A: it could not be confined to rows and columns."""
    if options.method != "LORA":
        raise RecipeError(f"{options.method} cannot be confined to heads, only LORA can; select layers for others")
    if others := [target for target in options.targets if target not in PROJECTIONS]:
        raise RecipeError(
            f"targets {', '.join(others)} have no parts that belong to heads; those that have: {', '.join(PROJECTIONS)}"
        )
    for name, value in options.settings.items():
        if name not in _PLAIN and value != _default(known[name]):
            raise RecipeError(
                f"LORA with settings.{name} = {value!r} cannot be confined to heads; settings allowed for heads: "
                f"{', '.join(sorted(_PLAIN))}"
            )


def _fields_of(method: str) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of a method's configuration, by name."""
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
    """Return peft's configuration of the method."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType

    known = _fields_of(options.method)
    given: dict[str, Any] = {"target_modules": names}
    for option, candidates in _FIELDS.items():
        given |= {name: getattr(options, option) for name in candidates if name in known}
    if "feedforward_modules" in known:
        # IA3 scales the inputs of these. It has no default for models of images and text.
        given["feedforward_modules"] = [name for name in names if name.endswith(".down_proj")]
    try:
        return PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(options.method)](**given, **options.settings)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{options.method} does not accept these settings: {error}") from error


def _found(model: Any, selection: Selection, targets: tuple[str, ...]) -> tuple[dict[str, nn.Module], dict[str, Slice]]:
    """Find the projections to adapt by their full names, and for heads the slice of each."""
    names = {id(module): name for name, module in model.named_modules()}
    decoder = model.get_decoder()
    layers = decoder.layers
    if selection.layers[-1] >= len(layers):
        raise ModelError(
            f"{selection.name} selects layers {selection.layers}, the language model of this {type(model).__name__} "
            f"has {len(layers)}, counted from 0; select layers of this model"
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
            "a part of a group shares its keys and values with the rest; add q_proj or o_proj to the targets"
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
    """Seed torch for the body only."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def _verify(model: nn.Module, wanted: Set[str]) -> None:
    """Refuse an adapter that is not on exactly the wanted modules, or makes anything else trainable."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = {name for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    if different := sorted(adapted ^ wanted):
        raise ModelError(
            f"peft adapted {len(adapted)} modules where {len(wanted)} were selected; not in both: "
            f"{', '.join(different)}; load the model again and choose another method"
        )
    inside = tuple(f"{name}." for name in wanted)
    outside = [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and not name.startswith(inside)
    ]
    if outside:
        raise ModelError(
            f"{len(outside)} parameters outside of the selection are trainable, such as {outside[0]}; load the "
            "model again and choose other settings"
        )
