"""Commands generated from options. Owns the conversion of option fields to command-line parameters and back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import click

from datasetkit.cli.help import PanelCommand, PanelOption
from datasetkit.cli.screen import Screen
from datasetkit.options.base import Options, PartOptions, Typed

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Made = TypeVar("Made", bound=Options)
_METAVARS = {int: "N", float: "X", str: "TEXT"}


def command(name: str, kinds: Sequence[type[Options]], run: Callable[..., None], text: str) -> click.Command:
    """Return a command that takes the fields of options, checks them, and calls a function with them.

    Args:
        name: name of the command.
        kinds: classes of options; of two with the same field, the first determines its help text.
        run: called with one object of each class, and the screen.
        text: help text of the command.

    """
    fields: dict[str, click.Parameter] = {}
    every: tuple[type[Options], ...] = (*kinds, Screen)
    for parameter in itertools.chain.from_iterable(map(_parameters, every)):
        fields.setdefault(parameter.name or "", parameter)
    parameters = sorted(fields.values(), key=lambda one: (not isinstance(one, click.Argument), not one.required))

    def called(**typed: Any) -> None:
        # Options that were not typed get the default of their class.
        given = {name: value for name, value in typed.items() if value is not None and value != ()}
        screen = _take(Screen, given)
        with screen.shown():
            run(*[_take(kind, given, name) for kind in kinds], screen)

    return PanelCommand(name, params=parameters, callback=called, help=text)


def as_typed(name: str) -> str:
    """Return a field as it is typed: ``--max-new-tokens``; nested fields are spelt as in a recipe."""
    name = ".".join(part for part in name.split(".") if not part.isdecimal())  # indices in comma-separated lists
    return name if "." in name else f"--{name.replace('_', '-')}"


def typed_of(field: FieldInfo) -> Typed:
    """Return how a field is typed on the command line."""
    inner = [item for kind in get_args(field.annotation) for item in getattr(kind, "__metadata__", ())]
    return next((item for item in (*field.metadata, *inner) if isinstance(item, Typed)), Typed())


def _take(kind: type[Made], given: dict[str, Any], part: str = "") -> Made:
    """Return options of a class, removing their values from ``given``; ``part`` is the name of a part."""
    values = {name: given.pop(name) for name in kind.model_fields if name in given}

    def spelt(name: str) -> str:
        field = kind.model_fields.get(name)
        if field is not None and typed_of(field).is_argument:
            return name.upper()
        return as_typed(name) if field is None else (typed_of(field).flag or as_typed(name)).partition("/")[0]

    return kind.checked(values | ({"name": part} if issubclass(kind, PartOptions) else {}), spelt)


def _parameters(kind: type[Options]) -> Iterator[click.Parameter]:
    """Yield one parameter per field, except the name of a part; its own options before those that parts share."""
    is_part = issubclass(kind, PartOptions)
    own = vars(kind).get("__annotations__", {}) if is_part else kind.model_fields
    for name, field in sorted(kind.model_fields.items(), key=lambda item: item[0] not in own):
        if not (name == "name" and is_part):
            yield _parameter(kind, name, field)


def _parameter(kind: type[Options], name: str, field: FieldInfo) -> click.Parameter:
    typed, text, bare = typed_of(field), " ".join((field.description or "").split()), _bare(field.annotation)
    choices = tuple(map(str, get_args(bare))) if get_origin(bare) is Literal else ()
    type_ = click.Choice(choices) if choices else bare if bare in _METAVARS else str
    metavar = typed.metavar or ("|".join(choices) if choices else _METAVARS.get(bare, "TEXT"))
    if typed.is_argument:
        many = -1 if get_origin(bare) is tuple else 1
        return _Argument([name], nargs=many, metavar=metavar, required=field.is_required(), text=text)
    if bare is bool:
        flag = typed.flag or (f"{as_typed(name)}/--no-{as_typed(name)[2:]}" if field.default else as_typed(name))
        text += f"  [default: {flag.partition('/')[0][2:]}]" if field.default else ""
        return PanelOption([name, flag], is_flag=True, default=None, help=text, panel=_panel(kind, name))
    return PanelOption(
        [name, typed.flag or as_typed(name)],
        type=type_,
        metavar=metavar,
        multiple=typed.is_repeatable,
        required=field.is_required(),
        help=text if field.is_required() or "[default: " in text else text + _shown(field.default),
        panel=_panel(kind, name),
    )


class _Argument(click.Argument):
    """An argument with a help text."""

    panel = "Arguments"

    def __init__(self, names: list[str], *, text: str, **more: Any) -> None:
        super().__init__(names, **more)
        self._text = text

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return the metavar and the help text."""
        return self.make_metavar(ctx), self._text


def _panel(kind: type[Options], name: str) -> str | None:
    """Return the heading of the class that declares a field."""
    declaring = next(base for base in kind.__mro__ if name in vars(base).get("__annotations__", {}))
    panel: str | None = vars(declaring).get("panel")
    return panel


def _bare(annotation: Any) -> Any:
    """Return a type without None."""
    kinds = [one for one in get_args(annotation) if one is not NoneType]
    return kinds[0] if NoneType in get_args(annotation) and len(kinds) == 1 else annotation


def _shown(default: Any) -> str:
    """Return the default for a help text; empty if there is none, as the text itself then explains it."""
    value = default.name if isinstance(default, PartOptions) else default
    value = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return "" if value in (None, "", {}) else f"  [default: {value}]"
