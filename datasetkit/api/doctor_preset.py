"""Whether the models of a preset will run on a machine. Owns what they need, and the cure for each lack.

:func:`plan` looks at models and packages, :func:`measure` at the machine; :func:`judge` compares the two and touches
nothing.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from datasetkit.api.models import Model, check_folder, grounding_of, size_text, survey
from datasetkit.core.errors import ModelError
from datasetkit.core.results import Result
from datasetkit.options.base import Dtype
from datasetkit.options.build import DoctorCommand
from datasetkit.options.grounding import GroundingOptions
from datasetkit.options.heads import FAMILIES
from datasetkit.options.models import PART_REGISTRIES
from datasetkit.runtime.devices import torch_device
from datasetkit.runtime.fetched import Listing, weight_count
from datasetkit.runtime.machine import Machine, free_disk, free_memory
from datasetkit.runtime.packages import NUM2WORDS, TORCHVISION, Package, first_fault

_BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_LEAST_BYTES = min(_BYTES.values())
# Weights, half as much again for what is computed, and torch itself.
_WORK_SHARE, _TORCH_BYTES = 1.5, 1 << 29


@dataclass(frozen=True, slots=True)
class Plan:
    """What the models of a preset need.

    Args:
        models: of the preset.
        weights: bytes of all weights in the type that they are loaded in; where it is not known in which type the Hub
            has them, at most so many.
        dtype: that type.
        packages: what does not work of the packages that they need: its module, the fault, the command that fixes it.
        fetch_command: what fetches the models into the Hub's cache.
        folder: where they must be, without asking the Hub; None for its cache.

    """

    models: tuple[Model, ...]
    weights: int
    dtype: Dtype
    packages: tuple[tuple[str, str, str], ...]
    fetch_command: str
    folder: Path | None

    @property
    def memory(self) -> int:
        """Estimate of the bytes that the models take at work."""
        return int(self.weights * _WORK_SHARE) + _TORCH_BYTES


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a preset needs.

    Args:
        name: what it is ("weights", "memory").
        state: how it is, in one line.
        cure: what to do where it is not as it must be; None where it is.

    """

    name: str
    state: str
    cure: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness(Result):
    """Whether a preset will run here, check by check."""

    checks: tuple[Check, ...]

    @property
    def is_ready(self) -> bool:
        """Whether nothing is to be done."""
        return all(check.cure is None for check in self.checks)

    def report(self) -> Iterator[str]:
        """Yield one line per check, and the cure of those that follow each other with the same one."""
        for check, following in zip_longest(self.checks, self.checks[1:]):
            yield f"{check.name:<13}{check.state}"
            if check.cure is not None and (following is None or following.cure != check.cure):
                yield f"{'':<13}cure: {check.cure}"
        yield f"{'verdict':<13}this will {'' if self.is_ready else 'not '}run here{'' if self.is_ready else ' yet'}"

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {"is_ready": self.is_ready, **Result.as_json(self)}


def examine_preset(options: DoctorCommand) -> Readiness:
    """Look at models, packages and machine, and judge whether the models will run.

    Raises:
        RecipeError: no models are named, or their options are wrong.
        ModelError: the folder of the models is not there.

    """
    needs = plan(options)
    return judge(needs, measure(options, needs.models))


def plan(options: DoctorCommand) -> Plan:
    """Find out what the models need, as far as they are here or the Hub answers."""
    grounding = grounding_of(options)
    checkpoints = grounding.checkpoints()
    command = options.fetch_command()
    check_folder(options.models, command)
    looked_at = tuple(survey(checkpoints, options.models, asks_hub=options.models is None))
    models = tuple(model for model, _ in looked_at)
    weights = sum(_weights(*pair) for one, pair in zip(checkpoints, looked_at, strict=True) if one.has_weights)
    return Plan(
        models,
        weights * _BYTES[grounding.dtype],
        grounding.dtype,
        _package_faults(grounding, models),
        command,
        options.models,
    )


def measure(options: DoctorCommand, models: Sequence[Model]) -> Machine:
    """Measure this machine; whether the Hub answers is known from looking at the models."""
    fault, device, memory = None, None, None
    try:
        device = torch_device(options.device)
        memory = free_memory(device)
    except ModelError as error:
        fault = str(error)
    hub_fault = next((one.hub_fault for one in models if one.hub_fault is not None), None)
    return Machine(device, fault, memory, free_disk(options.models or Path(constants.HF_HUB_CACHE)), hub_fault)


def judge(needs: Plan, machine: Machine) -> Readiness:
    """Compare what models need with what a machine has."""
    return Readiness(
        (
            *_weight_checks(needs, machine),
            *_hub_checks(needs, machine),
            _disk_check(needs, machine),
            _device_check(machine),
            _memory_check(needs, machine),
            *_package_checks(needs),
        )
    )


def _fetching(needs: Plan, machine: Machine) -> str:
    """Return how to get models that are missing."""
    if needs.folder is not None:
        return f"where the Hub answers, run: {needs.fetch_command} --to {shlex.quote(str(needs.folder))}"
    if machine.hub_fault is None:
        return f"run: {needs.fetch_command}"
    return f"where the Hub answers, run: {needs.fetch_command} --to DIR; bring DIR here, and build with --models DIR"


def _weight_checks(needs: Plan, machine: Machine) -> Iterator[Check]:
    """Yield a check per model."""
    for one in needs.models:
        state = f"{one.part} {one.id}: {one.state}, {size_text(one.size)}"
        if one.is_here:
            yield Check("weights", state)
        elif not one.is_on_hub:
            yield Check("weights", f"{one.part} {one.id}: it is not there", "name a folder or a file that is there")
        else:
            yield Check("weights", state, one.refusal or _fetching(needs, machine))


def _hub_checks(needs: Plan, machine: Machine) -> Iterator[Check]:
    if all(one.is_here for one in needs.models):
        yield Check("hub", "not needed: every model is here")
    elif needs.folder is not None:
        yield Check("hub", "not asked: --models is given")
    elif machine.hub_fault is None:
        yield Check("hub", "answers")
    else:
        yield Check("hub", machine.hub_fault, _fetching(needs, machine))


def _unknown(machine: Machine) -> str:
    return "size unknown" if machine.hub_fault is None else "size unknown, as the Hub does not answer"


def _disk_check(needs: Plan, machine: Machine) -> Check:
    missing = sum(one.missing or 0 for one in needs.models)
    is_partly_known = any(one.missing is None for one in needs.models)
    needed = f"{'at least ' if is_partly_known else ''}{size_text(missing)} needed"
    state = f"{size_text(machine.disk_free)} free, {_unknown(machine) if is_partly_known and not missing else needed}"
    if missing <= machine.disk_free:
        return Check("disk", state)
    return Check("disk", state, f"free {size_text(missing - machine.disk_free)}, or fetch to another disk: --to DIR")


def _device_check(machine: Machine) -> Check:
    if machine.device is None:
        return Check("device", machine.device_fault or "none", "give --device auto")
    return Check("device", machine.device)


def _memory_check(needs: Plan, machine: Machine) -> Check:
    is_partly_known = any(one.size is None for one in needs.models)
    least = "at least" if is_partly_known else "about"
    need = f"{least} {size_text(needs.memory)} needed: {size_text(needs.weights)} of weights in {needs.dtype}"
    need = f"weights of {_unknown(machine)}" if is_partly_known and not needs.weights else need
    if machine.memory_free is None:
        return Check("memory", f"not known, {need}")
    state = f"{size_text(machine.memory_free)} free, {need}"
    if needs.memory <= machine.memory_free:
        return Check("memory", state)
    others = [] if needs.dtype != "float32" else ["halve the weights: --dtype bfloat16"]
    others += ["name smaller models: --captioner, --detector, --segmenter", "free memory"]
    return Check("memory", state, ", or ".join(others))


def _package_checks(needs: Plan) -> Iterator[Check]:
    for module, fault, command in needs.packages:
        yield Check("packages", f"{module} does not work here ({fault})", f"run: {command}")
    if not needs.packages:
        yield Check("packages", "all there")


def _weights(model: Model, listing: Listing | None) -> int:
    """Count the weights of a model: by its files, by what the Hub says, or at most as many as its bytes can hold."""
    if model.is_here and model.folder is not None and model.folder.is_dir():
        return weight_count(model.folder)
    if listing is not None and listing.parameters is not None:
        return listing.parameters
    return (model.size or 0) // _LEAST_BYTES


def _package_faults(grounding: GroundingOptions, models: Sequence[Model]) -> tuple[tuple[str, str, str], ...]:
    """Return the first package of each part that does not work."""
    faults = []
    for model in models:
        part = getattr(grounding, model.part)
        builtin = (one.builtin.get(getattr(part, "name", "")) for one in PART_REGISTRIES.get(model.part, ()))
        packages = [*next((one.packages for one in builtin if one is not None), ()), *_packages_of(model.folder)]
        if (found := first_fault(packages)) is not None:
            faults.append((found[0].module, found[1], found[2]))
    return tuple(dict.fromkeys(faults))


def _packages_of(folder: Path | None) -> tuple[Package, ...]:
    """Return what the processor of a model that is here needs besides transformers."""
    try:
        config = json.loads(((folder or Path()) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in FAMILIES.builtin or not FAMILIES.load(kind).needs_torchvision:
        return ()
    return (TORCHVISION, NUM2WORDS) if kind == "smolvlm" else (TORCHVISION,)
