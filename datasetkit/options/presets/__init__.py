"""Sets of models that work together, by name. Owns their files, and how single options are put over them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from datasetkit.core.errors import RecipeError, UnknownNameError
from datasetkit.options.files import read_options

NAMES = ("grounded-sam", "toyworld")


def preset(name: str | None, changes: Mapping[str, Any], *, allow_code: bool = False) -> dict[str, Any]:
    """Return the options of grounding that a preset holds, with changes put over them.

    Args:
        name: of a preset, or a YAML file with the same content, or a recipe file; None for the changes alone.
        changes: ``"detector.score_min": 0.4``; a change of a part's ``name`` clears the part's other options.
        allow_code: see :func:`~datasetkit.options.files.read_options`.

    Raises:
        UnknownNameError: there is neither a preset nor a file of that name.
        RecipeError: the file is not a YAML mapping, or a change names no option of a part.

    """
    value = {} if name is None else _read(name, allow_code=allow_code)
    for path in sorted(changes, key=lambda path: not path.endswith(".name")):
        _put(value, path, changes[path])
    return value


def _read(name: str, *, allow_code: bool) -> dict[str, Any]:
    if name in NAMES:
        with resources.as_file(resources.files(__name__).joinpath(f"{name}.yaml")) as path:
            return read_options(path, "preset", allow_code=False)
    if not Path(name).is_file():
        raise UnknownNameError(f"no preset or file is called {name!r}; known presets: {', '.join(NAMES)}")
    found = read_options(Path(name), "preset", allow_code=allow_code)
    value = found.get("grounding", found)
    if not isinstance(value, dict):
        raise RecipeError(f"{name} is a recipe without models; give a preset, or a recipe that names models")
    return value


def _put(value: dict[str, Any], path: str, item: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        if value.get(parent) is None:
            value[parent] = {}
        value = value[parent]
        if not isinstance(value, dict):
            raise RecipeError(f"{path}: {parent} holds a value, not options")
    if last == "name" and value.get("name") != item:
        value.clear()
    value[last] = item
