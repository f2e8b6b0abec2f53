"""Options that several commands share. Owns the way from a dataclass to parameters, and from these to options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from datasetkit.core.errors import RecipeError

if TYPE_CHECKING:
    from datasetkit.options.base import Options

    Checked = TypeVar("Checked", bound=Options)

DTYPES = ("float32", "bfloat16", "float16")
# Fewer make intervals and halves of the data say little.
FEW_SAMPLES = 30
ModelName = Annotated[
    str, typer.Option(help="Image-text-to-text model: Hub id, local folder, or toyworld:vlm.", show_default=False)
]
# What commands end with that write tables and no page.
ON_A_PAGE = "`datasetkit report FOLDER ...` shows all results of a model on one page"


def takes(group: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every field of a dataclass as an option, after its own; it receives one ``options`` object.

    A field that the command has an option of its own for keeps its default.

    Args:
        group: a dataclass whose fields are annotated with ``typer.Option``.

    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter.replace(annotation=get_type_hints(command, include_extras=True)[name])
            for name, parameter in inspect.signature(command).parameters.items()
            if name != "options"
        ]
        hints = get_type_hints(group, include_extras=True)
        taken = {parameter.name for parameter in own}
        group_fields = [field for field in fields(group) if field.name not in taken]
        shared = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in group_fields
        ]

        @wraps(command)
        def wrapper(**values: Any) -> None:
            options = group(**{field.name: values.pop(field.name) for field in group_fields})
            command(**values, options=options)

        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        setattr(wrapper, "__signature__", inspect.Signature([*own, *shared]))  # noqa: B010 - mypy knows no such attribute
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
        del wrapper.__wrapped__
        return wrapper

    return decorate


def options_of(kind: type[Checked], **given: Any) -> Checked:
    """Make options of what was typed.

    Raises:
        RecipeError: a value is out of range; the message names the parameter.

    """
    from pydantic import ValidationError

    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        typed = given.get(name)
        came = ",".join(map(str, typed)) if isinstance(typed, tuple) else typed
        told = first["msg"].removeprefix("Value error, ")
        which = f", not {first['input'] or 'a blank'}" if isinstance(typed, tuple) and first["input"] in typed else ""
        raise RecipeError(f"--{name.replace('_', '-')} {came}".rstrip() + f": {told}{which}") from error


def check_dtype(dtype: str) -> None:
    """Refuse what is no type of weights.

    Raises:
        RecipeError: it is none of ``DTYPES``.

    """
    if dtype not in DTYPES:
        raise RecipeError(f"--dtype {dtype}: give one of {', '.join(DTYPES)}")


def check_revision(model: str, revision: str | None) -> None:
    """Refuse a revision of a model that has none.

    Raises:
        RecipeError: the model lies on this machine.

    """
    from datasetkit.runtime.checkpoints import resolve

    if revision is not None and Path(resolve(model)).is_dir():
        raise RecipeError(f"--revision {revision}: {model} lies on this machine and has no revisions; leave it out")


def name_of(place: str) -> str:
    """Give the name of a model or dataset as a folder can have it."""
    return place.rstrip("/").rpartition("/")[2].replace(":", "-")


def names_in(text: str) -> tuple[str, ...]:
    """Give the names that a text lists, commas between them."""
    return tuple(name.strip() for name in text.split(","))
