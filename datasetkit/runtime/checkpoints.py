"""The shipped models by name. Owns where their folders are; from there on they load as any checkpoint does."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from datasetkit.core.errors import UnknownNameError

PREFIX = "toyworld:"
NAMES = ("detector", "segmenter", "vlm")


def resolve(model_id: str) -> str:
    """Give the folder of a shipped model (``toyworld:detector``); any other id or path comes back as it is.

    Raises:
        UnknownNameError: no shipped model has that name.

    """
    if not model_id.startswith(PREFIX):
        return model_id
    name = model_id.removeprefix(PREFIX)
    if name not in NAMES:
        raise UnknownNameError(
            f"no shipped model is called {model_id!r}; known: {', '.join(PREFIX + n for n in NAMES)}"
        )
    return str(weights_folder() / name)


def check_shipped(model_id: str) -> str:
    """Return an id as it is, of a model that is shipped or of any other; see :func:`resolve`."""
    resolve(model_id)
    return model_id


def weights_folder() -> Path:
    """The folder in the package that holds a folder for each shipped model."""
    return Path(str(resources.files("datasetkit.toyworld"))) / "weights"
