"""Optional packages: which of them work on this machine. Owns the check and the command that mends a fault."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from datasetkit.errors import MissingPackageError

_TORCH_INDEX = "https://download.pytorch.org/whl/"
_TORCH_BUILD = re.compile(r"cpu|cu\d+|rocm[\d.]+|xpu")


@dataclass(frozen=True, slots=True)
class Package:
    """A package that some model needs.

    Args:
        module: what is imported.
        requirement: what pip is told to install.

    """

    module: str
    requirement: str

    def fault(self) -> str | None:
        """Try to import it; say in one line what is wrong, or None."""
        try:
            importlib.import_module(self.module)
        # A package whose binary part does not fit beside the others fails in any of these ways.
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            return " ".join(f"{type(error).__name__}: {error}".split())
        return None

    @property
    def command(self) -> str:
        """What mends it, typed into a shell: pip leaves alone what is there, so a broken one has to go first."""
        install = f"pip install {self.requirement} {fitting_torch(version('torch'))}"
        is_broken = self.is_installed and self.requirement == self.module
        return f"pip uninstall -y {self.module} && {install}" if is_broken else install

    @property
    def is_installed(self) -> bool:
        """Whether it is there at all, working or not."""
        return find_spec(self.module.partition(".")[0]) is not None


def fitting_torch(installed: str) -> str:
    """Give pip's arguments that keep the installed torch, and find builds of other packages that fit it.

    Each torchvision belongs to one version and one build of torch: without the pin pip fetches the newest of both,
    without the index a build for CUDA beside a torch for the CPU.

    Args:
        installed: version of torch, such as "2.13.0+cpu"; what stands after "+" is the build.

    """
    public, _, build = installed.partition("+")
    index = f" --extra-index-url {_TORCH_INDEX}{build}" if _TORCH_BUILD.fullmatch(build) else ""
    return f"torch=={public}{index}"


TORCHVISION = Package("torchvision", "torchvision")
SEGMENT_ANYTHING = Package("segment_anything", "'datasetkit[sam]'")
# The top of the package is empty and imports everywhere.
GROUNDINGDINO = Package("groundingdino.models", "'datasetkit[groundingdino]'")


def require(what: str, *packages: Package) -> None:
    """Check the packages of one model.

    Raises:
        MissingPackageError: one of them does not work; the message says how to mend it.

    """
    found = first_fault(packages)
    if found is not None:
        package, fault, command = found
        raise MissingPackageError(f"{what} needs {package.module}, which does not work here ({fault}); run: {command}")


def first_fault(packages: Sequence[Package]) -> tuple[Package, str, str] | None:
    """Give the first package that does not work, its fault, and the command that mends all of them; None if all work.

    Later packages import earlier ones: one that is there may well work once the first does.
    """
    faults = [(package, fault) for package in packages if (fault := package.fault()) is not None]
    if not faults:
        return None
    first, fault = faults[0]
    commands = [first.command, *(package.command for package, _ in faults[1:] if not package.is_installed)]
    return first, fault, " && ".join(commands)
