"""Option files: recipes and presets in YAML. Owns their reading; reading a file never imports code that it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from datasetkit.core.addresses import foreign_scheme
from datasetkit.core.documents import DocumentError, load_yaml, read_yaml
from datasetkit.core.errors import RecipeError
from datasetkit.core.paths import unread
from datasetkit.runtime.registry import is_dotted


def read_options(path: Path, kind: str, *, allow_code: bool) -> dict[str, Any]:
    """Read a YAML mapping of options.

    Args:
        path: path of the file.
        kind: kind of file, for messages ("recipe").
        allow_code: whether it may name classes as ``package.module:Class``, whose modules are imported later.

    Raises:
        RecipeError: the file is missing, not a YAML mapping, or names a class without ``allow_code``.

    """
    try:
        value = read_yaml(path)
    except OSError as error:
        raise RecipeError(unread(path, error)) from None
    except DocumentError as error:
        raise RecipeError(str(error)) from None
    if not isinstance(value, dict):
        raise RecipeError(f"{path} contains a {type(value).__name__}; a {kind} is a mapping of options")
    named = () if allow_code else tuple(dict.fromkeys(_classes_in(value, set())))
    if named:
        raise RecipeError(f"{path} names {', '.join(named)}, code that would run; if you trust it, give --allow-code")
    return value


def _classes_in(value: object, seen: set[int]) -> Iterator[str]:
    """Yield every string at any depth that would be read as a class; YAML aliases are followed once."""
    if isinstance(value, str):
        if is_dotted(value) or foreign_scheme(value) is not None:  # fsspec imports whichever package claims a scheme
            yield value
        if value.startswith("{"):  # a part may be written as a string of options
            with suppress(DocumentError):
                yield from _classes_in(load_yaml(value), seen)
    elif isinstance(value, dict | list | set | tuple) and id(value) not in seen:
        seen.add(id(value))
        for item in value.values() if isinstance(value, dict) else value:
            yield from _classes_in(item, seen)
