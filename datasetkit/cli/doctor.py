"""``datasetkit doctor``: which models work on this machine. Owns the table, and the command for each that does not."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from datasetkit import __version__
from datasetkit.core.text import one_line

if TYPE_CHECKING:
    from datasetkit.runtime.packages import Package
    from datasetkit.runtime.registry import Registry

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One part and how it is.

    Args:
        kind: what it is ("detector").
        name: what it is called.
        fault: what is wrong, in one line, or None.
        command: what mends it, or None where nothing is to be done or nobody knows.
        is_required: whether nothing works without it.

    """

    kind: str
    name: str
    fault: str | None
    command: str | None
    is_required: bool = False


def doctor() -> None:
    """Tell which models work on this machine and, for each that does not, the command that mends it."""
    typer.echo(f"{'python':<16}{platform.python_version()}")
    typer.echo(f"{'datasetkit':<16}{__version__}")
    for package in ("torch", "transformers", "torchvision"):
        typer.echo(f"{package:<16}{_version(package)}")
    required = [_required("torch"), _required("transformers")]
    if required[0].fault is None:
        for device in _devices():
            typer.echo(f"{'device':<16}{device}")
    findings = [*required, *_backends(), *_shipped_models()]
    for finding in findings:
        typer.echo(f"{finding.kind:<16}{finding.name:<21}{finding.fault or 'works'}")
        if finding.command is not None:
            typer.echo(f"{'':<37}run: {finding.command}")
    if any(finding.is_required and finding.fault for finding in findings):
        raise typer.Exit(1)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _required(module: str) -> Finding:
    from datasetkit.runtime.packages import Package

    fault = Package(module, module).fault()
    return Finding("required", module, fault, fault and f"pip install --force-reinstall {module}", is_required=True)


def _devices() -> Iterator[str]:
    import torch

    yield "cpu"
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield f"cuda:{number} {properties.name}, {properties.total_memory / _GIB:.1f} GiB"
    if torch.backends.mps.is_available():
        yield f"mps, {torch.mps.recommended_max_memory() / _GIB:.1f} GiB"


def _backends() -> Iterator[Finding]:
    from datasetkit.options.models import CAPTIONERS, CROP_SCORERS, DETECTORS, GROUNDERS, PACKAGES, SEGMENTERS

    for registry in (CAPTIONERS, DETECTORS, SEGMENTERS, GROUNDERS):
        for name in registry.names:
            yield _backend(registry, name, PACKAGES.get(name, ()))
    yield _backend(CROP_SCORERS, "image-text", ())


def _backend(registry: Registry, name: str, packages: tuple[Package, ...]) -> Finding:
    from datasetkit.runtime.packages import first_fault

    found = first_fault(packages)
    if found is not None:
        _, fault, command = found
        return Finding(registry.kind, name, fault, command)
    try:
        registry.load(name)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        return _broken(registry.kind, name, error, is_required=False)
    return Finding(registry.kind, name, None, None)


def _shipped_models() -> Iterator[Finding]:
    from datasetkit.runtime.checkpoints import NAMES, PREFIX

    for name in NAMES:
        try:
            _load_shipped(name)
        except (ImportError, RuntimeError, OSError, ValueError, AttributeError) as error:
            yield _broken("shipped model", PREFIX + name, error, is_required=True)
        else:
            yield Finding("shipped model", PREFIX + name, None, None, is_required=True)


def _load_shipped(name: str) -> None:
    """Load a model by the class that a build loads it with."""
    from datasetkit.options.models import CAPTIONERS, DETECTORS, SEGMENTERS
    from datasetkit.runtime.checkpoints import PREFIX

    model = PREFIX + name
    if name == "vlm":
        CAPTIONERS.load("image-text-to-text")(model, prompt="Describe the picture.")
    elif name == "detector":
        DETECTORS.load("grounding-dino")(model)
    else:
        SEGMENTERS.load("sam")(model)


def _broken(kind: str, name: str, error: Exception, *, is_required: bool) -> Finding:
    """Say what is wrong; a torchvision that is there but broken takes all of transformers with it."""
    from datasetkit.runtime.packages import TORCHVISION

    if TORCHVISION.is_installed and (fault := TORCHVISION.fault()) is not None:
        return Finding(kind, name, f"torchvision is there but broken ({fault})", TORCHVISION.command, is_required)
    fault = one_line(f"{type(error).__name__}: {error}")
    command = "pip install --force-reinstall --no-deps datasetkit" if is_required else None
    return Finding(kind, name, fault, command, is_required)
