"""Models by name: shipped ones, folders, and ids on the Hub. Owns where a name leads, without loading anything."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from datasetkit.core.errors import ModelError, UnknownNameError

PREFIX = "toyworld:"
NAMES = ("detector", "segmenter", "vlm")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that options name.

    Args:
        part: what it is used for ("captioner").
        id: Hub id, path of a folder or a file, or the name of a shipped model.
        revision: commit, tag or branch on the Hub; None for the newest.
        has_weights: whether its weights are loaded, not only its configuration and tokenizer.

    """

    part: str
    id: str
    revision: str | None = None
    has_weights: bool = True

    @property
    def local(self) -> Path | None:
        """Folder or file of a model that is not on the Hub; it may not be there."""
        place = resolve(self.id)
        return Path(place) if Path(place).exists() or _is_path(place) else None


def resolve(model_id: str) -> str:
    """Return the folder of a shipped model (``toyworld:detector``); return any other id or path as it is.

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
    if _is_path(place) and not Path(place).is_dir():
        raise ModelError(f"there is no folder {model}; give a local folder, a Hub id or toyworld:...")
    return place


def weights_folder() -> Path:
    """Return the folder in the package that holds a folder for each shipped model."""
    return Path(str(resources.files("datasetkit.toyworld"))) / "weights"


def _is_path(place: str) -> bool:
    """Return whether a name cannot be an id on the Hub."""
    return Path(place).is_absolute() or place.startswith((".", "~")) or place.count("/") > 1
