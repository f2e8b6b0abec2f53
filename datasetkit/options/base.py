"""What all options have in common. Owns their base class, and what earlier versions' options count as today."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_jsonable_python

BEFORE = "before"


class Options(BaseModel):
    """Options that cannot be changed, and refuse names that they do not know.

    A field that is added later states what was done before it, where that is not its default:
    ``Field(default=..., json_schema_extra={BEFORE: ...})``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def completed(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in what plain values of an earlier version lack.

        Args:
            found: options as plain JSON values, all of them as far as there were any then.

        Returns:
            the same in today's order; options that are unknown today come last, as they are. What every version needs
            is never filled in.

        """
        known = {}
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra
            if name in found:
                known[name] = _completed_value(found[name], field.annotation)
            elif isinstance(extra, Mapping) and BEFORE in extra:
                known[name] = extra[BEFORE]
            elif not field.is_required():
                known[name] = to_jsonable_python(field.get_default(call_default_factory=True))
        return known | {name: value for name, value in found.items() if name not in known}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values, options among them, to plain JSON values."""
    return dict(to_jsonable_python(values))


def completed(found: Any, here: Any) -> Any:
    """Fill in what an earlier version's plain values lack: options, and values that are null today.

    Args:
        found: plain JSON values.
        here: today's values in the same places, options as objects.

    """
    if not isinstance(found, Mapping):
        return found
    if isinstance(here, Options):
        return here.completed(found)
    if isinstance(here, Mapping):
        known = {name: completed(value, here.get(name)) for name, value in found.items()}
        return known | {name: None for name, value in here.items() if value is None and name not in known}
    return found


def _completed_value(found: Any, annotation: Any) -> Any:
    """Complete the options in a field; of several kinds, those of the kind that they name."""
    kinds = [
        kind
        for kind in _options_in(annotation)
        if isinstance(found, Mapping)
        and ("name" not in kind.model_fields or found.get("name") == kind.model_fields["name"].default)
    ]
    return kinds[0].completed(found) if len(kinds) == 1 else found


def _options_in(annotation: Any) -> Iterator[type[Options]]:
    if isinstance(annotation, type) and issubclass(annotation, Options):
        yield annotation
    for argument in get_args(annotation):
        yield from _options_in(argument)
