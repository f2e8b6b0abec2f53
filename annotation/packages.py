"""Optional packages: which of them work on this machine. Owns the check and the command that mends a fault."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import version

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


# Each torchvision belongs to one torch: without this pin pip fetches the newest of both.
_SAME_TORCH = f"torch=={version('torch').partition('+')[0]}"
TORCHVISION = Package("torchvision", f"pip install torchvision {_SAME_TORCH}")
SEGMENT_ANYTHING = Package("segment_anything", f"pip install 'datasetkit[sam]' {_SAME_TORCH}")
GROUNDINGDINO = Package("groundingdino.models", f"pip install 'datasetkit[groundingdino]' {_SAME_TORCH}")


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
