"""Options that several commands share. Owns the way from a dataclass of options to a command's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import Any, get_type_hints


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
