"""Optional packages: which of them work on this machine. Owns the check, and the command that fixes a fault."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from datasetkit.core.errors import MissingPackageError
from datasetkit.core.text import one_line


@dataclass(frozen=True, slots=True)
class Package:
    """A package that some model needs.

    Args:
        module: module to import.
        requirement: requirement for pip.

    """

    module: str
    requirement: str

    def fault(self) -> str | None:
        """Try to import the package; return one line about what is wrong, or None."""
        try:
            importlib.import_module(self.module)
        # A package with an incompatible binary part fails in any of these ways.
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            return one_line(f"{type(error).__name__}: {error}")
        return None

    @property
    def command(self) -> str:
        """Shell command that fixes the package.

        A broken package was built for another torch, and so is any package that pip would find for a torch of a special
        build ("2.13.0+cpu"): both are then reinstalled, as matching builds.
        """
        if find_spec("torch") is None:
            return f"pip install {self.requirement}"
        release, _, build = version("torch").partition("+")
        is_unfit = self.requirement == self.module and bool(self.is_installed or build)
        return f"pip install {'--force-reinstall ' if is_unfit else ''}{self.requirement} torch=={release}"

    @property
    def is_installed(self) -> bool:
        """Whether the package is installed, working or not."""
        return find_spec(self.module.partition(".")[0]) is not None


TORCHVISION = Package("torchvision", "torchvision")
SEGMENT_ANYTHING = Package("segment_anything", "'datasetkit[sam]'")
# The top-level package is empty, so importing it always works.
GROUNDINGDINO = Package("groundingdino.models", "'datasetkit[groundingdino]'")
PEFT = Package("peft", "'datasetkit[tune]'")
PYCOCOEVALCAP = Package("pycocoevalcap", "'datasetkit[tune]'")


def require(what: str, *packages: Package) -> None:
    """Check the packages of one model.

    Raises:
        MissingPackageError: one of them does not work; the message contains the command that fixes it.

    """
    found = first_fault(packages)
    if found is not None:
        package, fault, command = found
        raise MissingPackageError(f"{what} needs {package.module}, which does not work here ({fault}); run: {command}")


def first_fault(packages: Sequence[Package]) -> tuple[Package, str, str] | None:
    """Return the first package that does not work, its fault, and the command that fixes all; None if all work.

    Later packages import earlier ones, so an installed one may work as soon as the first one does.
    """
    faults = [(package, fault) for package in packages if (fault := package.fault()) is not None]
    if not faults:
        return None
    first, fault = faults[0]
    commands = [first.command, *(package.command for package, _ in faults[1:] if not package.is_installed)]
    return first, fault, " && ".join(commands)
