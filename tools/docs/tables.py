"""Tables of options. Owns how the fields of an options class are written in the reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import click
from pydantic.fields import FieldInfo

from datasetkit.cli.commands import command, typed_of
from datasetkit.options.base import Options

_DEFAULT = re.compile(r"\s*\[default: (.*)\]$", re.DOTALL)
_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~^=])")
_HEAD = "| option | values | default | what it does |\n|---|---|---|---|\n"
_TYPES = {bool: "flag", int: "integer", float: "number", str: "text", Path: "path"}


def panels(kind: type[Options]) -> Iterator[str]:
    """Yield a table per heading of a command's help."""
    shown = command("", (kind,), print, "")
    headings = dict.fromkeys(getattr(one, "panel", None) for one in shown.params if one.name in kind.model_fields)
    for heading in sorted(headings, key=lambda one: {"Arguments": 0, "Options": 1}.get(one or "", 2)):
        names = {one.name or "" for one in shown.params if getattr(one, "panel", None) == heading}
        if len(headings) > 1:
            yield f"**{heading}**\n"
        yield table(kind, names=names)


def table(kind: type[Options], *, names: set[str] | None = None, flat: bool = False, prefix: str = "") -> str:
    """Return the options of a class as a table.

    Args:
        kind: of the options.
        names: of the fields; None for all.
        flat: whether they are spelled as in recipes and ``--set``, not as on the command line.
        prefix: what stands before their names there.

    """
    rows = ""
    for shown in command("", (kind,), print, "").params:  # arguments and what is required come first
        name = shown.name or ""
        if name not in kind.model_fields or (names is not None and name not in names):
            continue
        field = kind.model_fields[name]
        text, default = help_of(field, shown)
        spelled = f"{prefix}{name}" if flat else spelling(shown)
        rows += f"| `{spelled}` | {allowed(field)} | {default} | {escape(text)} |\n"
    return _HEAD + rows if rows else "It has no options.\n"


def help_of(field: FieldInfo, shown: click.Parameter) -> tuple[str, str]:
    """Return the help text of an option, and what it says of the default."""
    _, text = shown.get_help_record(click.Context(click.Command(""))) or ("", "")
    found, text = _DEFAULT.search(text), _DEFAULT.sub("", text)
    if field.annotation is bool:
        return text, "on" if field.default else "off"
    if shown.required:
        return text.removesuffix("  [required]"), "required"
    return text, escape(found[1]) if found else ""


def spelling(shown: click.Parameter) -> str:
    """Return how an option is typed on the command line, with what turns it off."""
    if isinstance(shown, click.Argument):
        return shown.make_metavar(click.Context(click.Command("")))
    return "/".join([*shown.opts, *shown.secondary_opts])


def allowed(field: FieldInfo) -> str:
    """Return what values a field takes: its type, its choices or its range."""
    found = list(walk((field.annotation, *field.metadata)))
    choices = [str(value) for one in found if get_origin(one) is Literal for value in get_args(one)]
    if choices:
        several = "any of " if any(get_origin(one) is tuple for one in found) else ""
        return several + ", ".join(f"`{choice}`" for choice in choices)
    metavar = typed_of(field).metavar
    kind = f"`{metavar}`" if metavar else next((_TYPES[one] for one in found if one in _TYPES), "text")
    return ", ".join([kind, *bounds(found)])


def bounds(found: list[Any]) -> Iterator[str]:
    """Yield the limits of a number, or of the length of a text."""
    for one in found:
        match one:
            case annotated_types.Ge(ge):
                yield f"at least {ge:g}"
            case annotated_types.Gt(gt):
                yield f"more than {gt:g}"
            case annotated_types.Le(le):
                yield f"at most {le:,}"
            case annotated_types.Lt(lt):
                yield f"less than {lt:g}"


def walk(annotation: Any) -> Iterator[Any]:
    """Yield everything that an annotation is made of, constraints among it."""
    yield annotation
    if isinstance(annotation, FieldInfo):
        yield from annotation.metadata
    inner = (
        annotation if isinstance(annotation, tuple) else (*get_args(annotation), *getattr(annotation, "metadata", ()))
    )
    for one in inner if not isinstance(annotation, FieldInfo) else ():
        yield from walk(one)


def escape(text: str) -> str:
    """Return plain text as Markdown that shows it; what is between backticks is code."""
    parts = _CODE.split(text)
    return "".join(part if place % 2 else _SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts))
