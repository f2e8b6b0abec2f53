"""Sets of models that work together, by name. Owns their files, and how single options are put over them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from datasetkit.core.errors import RecipeError, UnknownNameError
from datasetkit.core.text import one_line

NAMES = ("grounded-sam", "toyworld")


def preset(name: str | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options of grounding that a preset holds, with changes put over them.

    Args:
        name: of a preset, or a YAML file of ours with the same content; None for the changes alone.
        changes: ``"detector.score_min": 0.4``; a change of a part's ``name`` clears the part's other options.

    Raises:
        UnknownNameError: there is neither a preset nor a file of that name.
        RecipeError: the file is no YAML mapping, or a change names no option of a part.

    """
    value = {} if name is None else _read(name)
    for path in sorted(changes, key=lambda path: not path.endswith(".name")):
        _put(value, path, changes[path])
    return value


def _read(name: str) -> dict[str, Any]:
    path = Path(name)
    if name in NAMES:
        text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
    else:
        raise UnknownNameError(f"no preset or file is called {name!r}; known presets: {', '.join(NAMES)}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{name} is not YAML: {one_line(error)}") from None
    if not isinstance(value, dict):
        raise RecipeError(f"{name} holds a {type(value).__name__}; a preset is a mapping of options")
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
