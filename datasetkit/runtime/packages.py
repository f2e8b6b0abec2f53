"""Optional packages: which of them work on this machine. Owns the check, and the command that fixes a fault."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from datasetkit.core.errors import MissingPackageError
from datasetkit.core.text import one_line


@dataclass(frozen=True, slots=True)
class Package:
    """A package that some model needs.

    Args:
        module: module to import.
        extra: extra of datasetkit that installs it; None if it is installed by its own name.

    """

    module: str
    extra: str | None = None

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
        """Shell command that fixes the package."""
        torch = version("torch") if find_spec("torch") is not None else None
        return install_command(self, torch, clone_of(Path(__file__)), is_installed=self.is_installed)

    @property
    def is_installed(self) -> bool:
        """Whether the package is installed, working or not."""
        return find_spec(self.module.partition(".")[0]) is not None


TORCHVISION = Package("torchvision")
NUM2WORDS = Package("num2words", "vlm")
SEGMENT_ANYTHING = Package("segment_anything", "sam")
# The top-level package is empty, so importing it always works.
GROUNDINGDINO = Package("groundingdino.models", "groundingdino")
PEFT = Package("peft", "tune")
PYCOCOEVALCAP = Package("pycocoevalcap", "tune")
RAY = Package("ray", "ray")


def install_command(package: Package, torch: str | None, clone: Path | None, *, is_installed: bool) -> str:
    """Return the command that installs a package next to the torch that is here.

    A broken package was built for another torch, and so is any package that pip would find for a torch of a special
    build ("2.13.0+cpu"): both are then reinstalled, as matching builds.

    Args:
        package: to install.
        torch: version of torch; None where there is none.
        clone: folder of a clone that datasetkit runs from; None where it was installed from a wheel.
        is_installed: whether the package is there, but does not work.

    """
    if package.extra is None:
        requirement = package.module.partition(".")[0]
    elif clone is None:
        requirement = f"'datasetkit[{package.extra}]'"
    else:
        constraints, itself = shlex.quote(str(clone / "constraints.txt")), shlex.quote(f"{clone}[{package.extra}]")
        requirement = f"--constraint {constraints} --editable {itself}"
    if torch is None:
        return f"pip install {requirement}"
    release, _, build = torch.partition("+")
    is_unfit = package.extra is None and bool(is_installed or build)
    return f"pip install {'--force-reinstall ' if is_unfit else ''}{requirement} torch=={release}"


def clone_of(module: Path) -> Path | None:
    """Return the folder of the clone that this module lies in; None where it was installed from a wheel."""
    root = module.resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "constraints.txt").is_file() else None


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
