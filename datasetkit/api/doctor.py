"""Which models and plug-ins work on this machine. Owns what is examined, and the command for each fault."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasetkit import __version__
from datasetkit.core.errors import DatasetkitError
from datasetkit.core.results import Result
from datasetkit.core.text import one_line
from datasetkit.export.formats import FORMATS
from datasetkit.options.engines import ENGINES
from datasetkit.options.heads import FAMILIES, SCORES
from datasetkit.options.models import (
    CAPTIONERS,
    DETECTORS,
    FILTERS,
    GROUNDERS,
    PHRASE_FINDERS,
    SEGMENTERS,
    GroundingDinoOptions,
    ImageTextToTextOptions,
    SamOptions,
)
from datasetkit.options.sources import SOURCES
from datasetkit.runtime import packages
from datasetkit.runtime.checkpoints import PREFIX
from datasetkit.runtime.packages import TORCHVISION, Package, clone_of, first_fault
from datasetkit.runtime.registry import Registry

_GIB = 1 << 30
_MODELS = (CAPTIONERS, DETECTORS, SEGMENTERS, GROUNDERS, PHRASE_FINDERS)
_PLUGGABLE = (*_MODELS, FILTERS, SOURCES, FORMATS, FAMILIES, SCORES, ENGINES)
_SHIPPED: dict[str, tuple[Registry, Any]] = {
    "detector": (DETECTORS, GroundingDinoOptions(model=f"{PREFIX}detector")),
    "segmenter": (SEGMENTERS, SamOptions(model=f"{PREFIX}segmenter")),
    "vlm": (CAPTIONERS, ImageTextToTextOptions(model=f"{PREFIX}vlm")),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One part and how it is.

    Args:
        kind: what it is ("detector").
        fault: what is wrong, in one line, or None.
        command: what fixes it, or None where nothing is to be done or nobody knows.
        is_required: whether nothing works without it.
        distribution: name and version of the plug-in's; None for parts of ours.

    """

    kind: str
    name: str
    fault: str | None = None
    command: str | None = None
    is_required: bool = False
    distribution: str | None = None


@dataclass(frozen=True, slots=True)
class Examination(Result):
    """What works on this machine, part by part.

    Args:
        versions: of Python, datasetkit and the packages that models need; None where one is not installed.
        devices: where models can run.

    """

    versions: dict[str, str | None]
    devices: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether everything works that is required."""
        return not any(finding.is_required and finding.fault for finding in self.findings)

    def report(self) -> Iterator[str]:
        """Yield one line per part, and the command that fixes it."""
        for name, version in self.versions.items():
            yield f"{name:<16}{version or 'not installed'}"
        yield from (f"{'device':<16}{device}" for device in self.devices)
        for finding in self.findings:
            of = f" ({finding.distribution})" if finding.distribution and not finding.fault else ""
            yield f"{finding.kind:<16}{finding.name:<21}{finding.fault or 'works'}{of}"
            if finding.command is not None:
                yield f"{'':<37}run: {finding.command}"

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {"is_sound": self.is_sound, **Result.as_json(self)}


def examine() -> Examination:
    """Import or load each part, and find out what fixes those that do not work."""
    versions = {"python": platform.python_version(), "datasetkit": __version__}
    found = {name: _version(name) for name in ("torch", "transformers", "torchvision")}
    required = [_required("torch"), _required("transformers")]
    devices = () if required[0].fault else tuple(_devices())
    backends = (_backend(one, name) for one in _MODELS for name in one.builtin if name != "given")
    plugins = (_plugin(one, name) for one in _PLUGGABLE for name in one.names if name not in one.builtin)
    return Examination({**versions, **found}, devices, (*required, *backends, *plugins, *map(_shipped, _SHIPPED)))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _required(module: str) -> Finding:
    fault = Package(module).fault()
    return Finding("required", module, fault, fault and f"pip install --force-reinstall {module}", is_required=True)


def _devices() -> Iterator[str]:
    import torch

    yield "cpu"
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield f"cuda:{number} {properties.name}, {properties.total_memory / _GIB:.1f} GiB"
    if torch.backends.mps.is_available():
        yield f"mps, {torch.mps.recommended_max_memory() / _GIB:.1f} GiB"


def _backend(registry: Registry, name: str) -> Finding:
    if (found := first_fault(registry.builtin[name].packages)) is not None:
        return Finding(registry.kind, name, *found[1:])
    try:
        registry.load(name)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        return _broken(registry.kind, name, error, is_required=False)
    return Finding(registry.kind, name)


def _plugin(registry: Registry, name: str) -> Finding:
    try:
        origin = registry.origin(name)
        registry.load(name)
    except DatasetkitError as error:
        return Finding(registry.kind, name, str(error))
    of = None if origin is None or origin.distribution is None else f"{origin.distribution} {origin.version}"
    return Finding(registry.kind, name, distribution=of)


def _shipped(name: str) -> Finding:
    """Load a model by the class that a build loads it with."""
    registry, options = _SHIPPED[name]
    try:
        registry.load(options.name)(options)
    except (ImportError, RuntimeError, OSError, ValueError, AttributeError) as error:
        return _broken("shipped model", PREFIX + name, error, is_required=True)
    return Finding("shipped model", PREFIX + name, is_required=True)


def _broken(kind: str, name: str, error: Exception, *, is_required: bool) -> Finding:
    """Describe a fault; a torchvision that is there but broken takes all of transformers with it."""
    if TORCHVISION.is_installed and (fault := TORCHVISION.fault()) is not None:
        return Finding(kind, name, f"torchvision is there but broken ({fault})", TORCHVISION.command, is_required)
    fault = one_line(f"{type(error).__name__}: {error}")
    clone = clone_of(Path(packages.__file__))
    again = "pip install --force-reinstall --no-deps datasetkit"
    if clone is not None:
        again = f"git -C {shlex.quote(str(clone))} restore datasetkit/toyworld/weights"
    command = again if is_required else None
    return Finding(kind, name, fault, command, is_required)
