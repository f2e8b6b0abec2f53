"""The shipped models by name. Owns where their folders are; from there on they load as any checkpoint does."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from datasetkit.core.errors import ModelError, UnknownNameError

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


def check_location(model: str) -> str:
    """Return the folder or the Hub id of a model; refuse what transformers would read as something else.

    Raises:
        UnknownNameError: no shipped model has that name.
        ModelError: it is a file, or the path of a folder that is not there.

    """
    place = resolve(model)
    if Path(place).is_file():
        raise ModelError(f"{model} is a file; give the folder that holds it, a Hub id or toyworld:...")
    is_path = Path(place).is_absolute() or place.startswith((".", "~")) or place.count("/") > 1
    if is_path and not Path(place).is_dir():
        raise ModelError(f"there is no folder {model}; give a local folder, a Hub id or toyworld:...")
    return place


def weights_folder() -> Path:
    """The folder in the package that holds a folder for each shipped model."""
    return Path(str(resources.files("datasetkit.toyworld"))) / "weights"
