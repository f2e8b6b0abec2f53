"""Optional packages: which of them work on this machine. Owns the check and the command that mends a fault."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from datasetkit.errors import MissingPackageError


@dataclass(frozen=True, slots=True)
class Package:
    """A package that some model needs.

    Args:
        module: what is imported.
        command: what installs it.

    """

    module: str
    command: str

    def fault(self) -> str | None:
        """Try to import it; say in one line what is wrong, or None."""
        try:
            importlib.import_module(self.module)
        # A package whose binary part does not fit beside the others fails in any of these ways.
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            return " ".join(f"{type(error).__name__}: {error}".split())
        return None


TORCHVISION = Package("torchvision", "pip install torchvision")
SEGMENT_ANYTHING = Package("segment_anything", "pip install 'datasetkit[sam]'")
GROUNDINGDINO = Package("groundingdino", "pip install 'datasetkit[groundingdino]'")


def require(what: str, *packages: Package) -> None:
    """Check the packages of one model.

    Raises:
        MissingPackageError: one of them does not work; the message says how to mend it.

    """
    for package in packages:
        fault = package.fault()
        if fault is not None:
            raise MissingPackageError(
                f"{what} needs {package.module}, which does not work here ({fault}); run: {package.command}"
            )
