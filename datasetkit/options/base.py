"""Base class of all options. Owns how options are typed and refused, and how those of earlier versions are completed.

The string below a field is its help text, which the documentation, the command line and error messages use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, LiteralString, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
)
from pydantic_core import to_jsonable_python

from datasetkit.core.documents import DocumentError, load_yaml
from datasetkit.core.errors import DatasetkitError, PluginError, RecipeError, UnknownNameError
from datasetkit.core.paths import Place, as_place
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import one_line
from datasetkit.runtime.devices import check_device
from datasetkit.runtime.registry import Registry

BEFORE = "before"
EITHER_OR_BOTH: LiteralString = "give {first}, {second} or both"
_MOST_SETTINGS = 100
_MOST_SHOWN = 100
# Plain words for the messages that pydantic phrases in terms of Python.
_PLAIN = {
    "missing": "is required",
    "model_type": "give options, as NAME: VALUE",
    "dict_type": "give values by name, as NAME: VALUE",
    "list_type": "give a list",
    "tuple_type": "give a list",
    "string_type": "give text",
    "too_short": "give at least {min_length} item",
    "invalid_key": "names of options are text",
    "either_or_both": EITHER_OR_BOTH,
}
Device = Annotated[str, AfterValidator(check_device)]
Dtype = Literal["float32", "bfloat16", "float16"]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Some = TypeVar("Some", bound="Options")


@dataclass(frozen=True, slots=True)
class Typed:
    """How an option is typed on the command line, where its name, type and default do not determine it.

    Args:
        metavar: placeholder of its value in help texts.
        is_argument: whether it is positional.
        is_repeatable: whether the option is given once per value.
        flag: another spelling ("--only-correct/--all").

    """

    metavar: str | None = None
    is_argument: bool = False
    is_repeatable: bool = False
    flag: str | None = None


class Options(BaseModel):
    """Immutable options that refuse unknown names.

    A field added in a later version states the value that describes earlier behaviour, where it differs from the
    default: ``Field(default=..., json_schema_extra={BEFORE: ...})``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    panel: ClassVar[str | None] = None
    """Heading of the fields of a class in help texts."""

    @classmethod
    def checked(cls, values: Mapping[str, Any], spelt: Callable[[str], str] = str) -> Self:
        """Build options from user input.

        Args:
            values: input values by field name.
            spelt: spells a field name as the user types it.

        Raises:
            RecipeError: names the option, what came and what is allowed, in one line.

        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(first_mistake(error, spelt, cls, values)) from None

    def part(self, kind: type[Some]) -> Some:
        """Return the options of one class, all of whose fields are among these."""
        return kind(**{name: getattr(self, name) for name in kind.model_fields})

    @classmethod
    def completed(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in the options that plain values of an earlier version lack.

        Args:
            found: all options of that version, as plain JSON values.

        Returns:
            the same values in today's order, unknown options last and unchanged. Required options are never filled in.

        """
        known = {}
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra
            if name in found:
                known[name] = _completed_value(found[name], (field.annotation, *field.metadata))
            elif isinstance(extra, Mapping) and BEFORE in extra:
                known[name] = extra[BEFORE]
            elif not field.is_required():
                known[name] = to_jsonable_python(field.get_default(call_default_factory=True))
        return known | {name: value for name, value in found.items() if name not in known}


class PartOptions(Options):
    """Options of an exchangeable part; a plug-in names its subclass in the attribute ``Options``."""

    name: str = ""
    """Name of the part, or its class, written package.module:Class."""

    @property
    def instance(self) -> Any:
        """The part, if it was given as an object; otherwise None."""
        return None

    def published(self) -> dict[str, Any]:
        """Return the options as plain values, with file names instead of paths."""
        files = {name: f"./{value.name}" for name, value in self if isinstance(value, Path)}
        return dict(to_jsonable_python(self.model_dump() | files, fallback=str))


class InstanceOptions(PartOptions):
    """A part given as an object: its class is its name, and only a digest of its settings is published."""

    settings: str = ""
    """SHA-256 of those of its attributes that are numbers, strings, options, or lists of these; it identifies the
    build."""
    _instance: Any = PrivateAttr(None)

    @classmethod
    def of(cls, instance: Any) -> Self:
        """Wrap an object."""
        if isinstance(instance, type):
            raise ValueError(f"{instance.__qualname__} is a class; give an object of it, or its name")  # noqa: TRY004
        kind = type(instance)
        found = {key: value for key, value in getattr(instance, "__dict__", {}).items() if _is_plain(value)}
        text = json.dumps(to_jsonable_python(found), sort_keys=True)
        settings = hashlib.sha256(text.encode()).hexdigest() if found else ""
        options = cls(name=f"{kind.__module__}:{kind.__qualname__}", settings=settings)
        options._instance = instance
        return options

    @property
    def instance(self) -> Any:
        """The part."""
        return self._instance


@dataclass(frozen=True, slots=True)
class PartOf:
    """Checks options of a part by its name: ``Annotated[SerializeAsAny[PartOptions], PartOf(DETECTORS)]``.

    Args:
        registries: where the name is looked up.
        base: base class of all options; plug-ins without options use it as it is.

    """

    registries: tuple[Registry, ...]
    base: type[PartOptions] = PartOptions

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Read a name or a mapping as options of the named part; any other object is the part."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def known(self, name: object) -> type[Options] | None:
        """Return the options class of a built-in part; None for a plug-in, which is not imported."""
        found = (registry.builtin.get(str(name)) for registry in self.registries)
        return next((entry.options for entry in found if entry is not None), None)

    def _read(self, value: object) -> object:
        if isinstance(value, str):
            value = _read_mapping(value) if value.startswith("{") else {"name": value}
        if not isinstance(value, Mapping):
            if value is None or isinstance(value, bool | int | float | bytes | list | tuple):
                raise ValueError("give a name, options or an object")
            return value if isinstance(value, PartOptions) else InstanceOptions.of(value)
        name = value.get("name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"name is required; known: {', '.join(self.names)}")
        try:
            return self.options(name).model_validate(value)
        except UnknownNameError as error:
            raise ValueError(str(error)) from None

    @property
    def names(self) -> tuple[str, ...]:
        """Every known name."""
        return tuple(name for registry in self.registries for name in registry.names)

    def options(self, name: str) -> type[Options]:
        """Return the options class of a part; see :meth:`Registry.load` for what it raises."""
        registry = next((one for one in self.registries if name in one.names), self.registries[0])
        found: type[Options] = registry.options(name, self.base)
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise PluginError(f"{registry.origin(name)}: Options must be a subclass of {self.base.__name__}")
        return found


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values, options among them, to plain JSON values."""
    return dict(to_jsonable_python(values))


def completed(found: Any, here: Any) -> Any:
    """Fill in what plain values of an earlier version lack: options, and values that are null today.

    Args:
        found: plain JSON values.
        here: today's values under the same keys, options as objects.

    """
    if not isinstance(found, Mapping):
        return found
    if isinstance(here, Options):
        return here.completed(found)
    if isinstance(here, Mapping):
        known = {name: completed(value, here.get(name)) for name, value in found.items()}
        return known | {name: None for name, value in here.items() if value is None and name not in known}
    return found


def is_data(rows: object) -> bool:
    """Return whether rows are plain data, not user code: a list, a ``datasets.Dataset`` or a pandas table."""
    return type(rows).__module__.partition(".")[0] in {"builtins", "datasets", "pandas"}


def _is_plain(value: object) -> bool:
    """Return whether a value is a setting, rather than data or a part of a model."""
    if isinstance(value, list | tuple | dict):
        items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return len(items) <= _MOST_SETTINGS and all(map(_is_plain, items))
    return value is None or isinstance(value, str | int | float | bool | BaseModel)


def split_at_commas(value: object) -> object:
    """Read a comma-separated list."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _read_mapping(text: str) -> object:
    try:
        return load_yaml(text)
    except DocumentError as error:
        raise ValueError(f"{text} is not YAML: {error}") from None


Commas = BeforeValidator(split_at_commas)


def read_several(value: object) -> object:
    """Read a single value as a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


Several = BeforeValidator(read_several)


def _read_place(value: object) -> Place:
    if not isinstance(value, str | Place):
        raise ValueError("give a path, or a URI such as s3://bucket/prefix")  # noqa: TRY004 - for pydantic
    return as_place(value)


AnyPlace = Annotated[Place, PlainValidator(_read_place)]


def local_only(refusal: Callable[[RemotePath], DatasetkitError]) -> BeforeValidator:
    """Return a validator that reads a path on this machine, and raises ``refusal`` of a remote one."""

    def read(value: object) -> object:
        path = as_place(value) if isinstance(value, str) else value
        if isinstance(path, RemotePath):
            raise refusal(path)
        return path

    return BeforeValidator(read)


def read_class(value: object) -> object:
    """Read a class as its name."""
    return f"{value.__module__}:{value.__qualname__}" if isinstance(value, type) else value


ClassName = Annotated[str, BeforeValidator(read_class)]


def read_settings(items: object) -> object:
    """Read settings typed as NAME=VALUE, with values in YAML."""
    if not isinstance(items, list | tuple):
        return items
    settings = {}
    for item in items:
        name, equals, text = str(item).partition("=")
        if not (name and equals and text):
            raise ValueError(f"{item} is not NAME=VALUE, such as detector.score_min=.4")
        try:
            settings[name] = load_yaml(text)
        except DocumentError as error:
            raise ValueError(f"{item}: the value is not YAML: {error}") from None
    return settings


Settings = Annotated[dict[str, Any], BeforeValidator(read_settings)]


def first_mistake(error: ValidationError, spelt: Callable[[str], str], kind: type[Options], values: Any) -> str:
    """Describe the first mistake in one line; an unknown name comes first, as it may explain a missing one.

    Args:
        error: pydantic's errors.
        spelt: spells a field name as the user types it.
        kind: class of the options.
        values: values that were given.

    """
    errors = error.errors()
    first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    *outer, _ = first["loc"] or ("",)
    path = ".".join(str(part) for part in first["loc"])
    message = _PLAIN.get(first["type"], first["msg"].removeprefix("Value error, "))
    context = first.get("ctx", {})
    if first["type"] == "either_or_both":
        context = {key: spelt(name) for key, name in context.items()}
    message = message.format(**context) if first["type"] in _PLAIN else message
    shown = one_line(repr(first["input"]))
    shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
    came = "" if isinstance(first["input"], Mapping | tuple) else f" (came: {shown})"
    if first["type"] == "extra_forbidden":
        known = sorted(_kind_at(kind, outer, values).model_fields.keys() - {"name"})
        near = get_close_matches(str(first["loc"][-1]), known, 1)
        meant = f"; did you mean {spelt('.'.join(map(str, (*outer, *near))))}?" if near else ""
        message = f"there is no such option; known: {', '.join(known) or 'none'}{meant}"
    return f"{spelt(path)}: {message}{came}" if path else f"{message}{came}"


def _kind_at(kind: type[Options], path: Sequence[int | str], values: Any) -> type[Options]:
    """Return the class of nested options; their parts were imported when they were checked."""
    annotation: Any = ()
    for step in path:
        if isinstance(step, int):
            values = values[step] if isinstance(values, list | tuple) else None
        else:
            values = values.get(step) if isinstance(values, Mapping) else None
            field = kind.model_fields.get(step)
            annotation = () if field is None else (field.annotation, *field.metadata)
        if isinstance(values, str):
            values = _read_mapping(values) if values.startswith("{") else {"name": values}
        name = values.get("name") if isinstance(values, Mapping) else None
        parts = [item for item in _flat(annotation) if isinstance(item, PartOf)]
        found = list(_options_in(annotation, name))
        kind = parts[0].options(str(name)) if parts and name else found[-1] if found else kind
    return kind


def _flat(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all of its arguments, recursively."""
    yield annotation
    for argument in annotation if isinstance(annotation, tuple) else get_args(annotation):
        yield from _flat(argument)


def _completed_value(found: Any, annotation: Any) -> Any:
    """Complete the options in a field; where it allows several classes, use the one that the options name."""
    if not isinstance(found, Mapping):
        return found
    kinds = [
        kind
        for kind in _options_in(annotation, found.get("name"))
        if "name" not in kind.model_fields or found.get("name") == kind.model_fields["name"].default
    ]
    return kinds[0].completed(found) if len(kinds) == 1 else found


def _options_in(annotation: Any, name: object) -> Iterator[type[Options]]:
    for item in _flat(annotation):
        if isinstance(item, type) and issubclass(item, Options):
            yield item
        if isinstance(item, PartOf) and (known := item.known(name)) is not None:
            yield known
