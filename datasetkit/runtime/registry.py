"""Registries: exchangeable parts by name. Owns where a part is looked up, and what of another distribution is in use.

A part is one of ours, was registered, is an entry point of an installed distribution, or is named as
``package.module:Class``. It is imported only when it is asked for.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datasetkit.core.errors import PluginError, UnknownNameError, UnusableError, is_out_of_memory
from datasetkit.core.files import file_sha256
from datasetkit.core.text import error_text
from datasetkit.runtime.checkpoints import PREFIX
from datasetkit.runtime.packages import Package, require

_DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Builtin:
    """A part of ours.

    Args:
        path: ``package.module:Class``.
        options: class of its options; None where it has none.
        packages: optional packages that it needs.

    """

    path: str
    options: Any = None
    packages: tuple[Package, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part that is not ours comes from.

    Args:
        kind: what it is ("detector").
        name: as it was asked for.
        path: ``package.module:Class``.
        distribution: name of the installed distribution; None where it belongs to none.
        version: of that distribution.
        sha256: of the file that the class is written in, since a version does not always change with it; None where
            there is no such file.

    """

    kind: str
    name: str
    path: str
    distribution: str | None
    version: str | None
    sha256: str | None = None

    def __str__(self) -> str:
        """Name it in one line, for messages."""
        of = f" of {self.distribution} {self.version}" if self.distribution else ""
        return f"{self.kind} {self.name}{'' if self.name == self.path else f' ({self.path})'}{of}"


class Registry:
    """Parts of one kind by name.

    Args:
        kind: what the parts are, for messages ("source"); the group of their entry points is ``datasetkit.KINDs``.
        builtin: those of ours.

    """

    def __init__(self, kind: str, builtin: Mapping[str, Builtin]) -> None:
        self.kind = kind
        self.builtin = dict(builtin)
        self._registered: dict[str, Any] = {}

    @property
    def group(self) -> str:
        """Name of the group of entry points ("datasetkit.detectors")."""
        return f"datasetkit.{self.kind.replace(' ', '_').removesuffix('y')}{'ies' if self.kind.endswith('y') else 's'}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every known name, sorted."""
        return tuple(sorted({*self.builtin, *self._registered, *(point.name for point in self._points())}))

    def register(self, name: str, part: Any) -> None:
        """Make a part known by a name, in this process.

        Args:
            name: that no part has yet.
            part: the class.

        Raises:
            PluginError: another part has that name.

        """
        if name in self.names and self._registered.get(name) is not part:
            raise PluginError(f"{self.kind} {name} is there already; register {part!r} by another name")
        self._registered[name] = part

    def has(self, name: str) -> bool:
        """Return whether a name is known, or is a class as ``package.module:Class``."""
        return name in self.names or is_dotted(name)

    def load(self, name: str) -> Any:
        """Import and return the part called ``name``.

        Raises:
            UnknownNameError: no part has that name; the message lists those that exist.
            MissingPackageError: a package that a part of ours needs does not work here.
            PluginError: it cannot be imported.

        """
        if name in self.builtin:
            require(name, *self.builtin[name].packages)
            return _imported(self.builtin[name].path)
        if name in self._registered:
            return self._registered[name]
        origin = self.origin(name)
        if origin is None:
            raise UnknownNameError(
                f"no {self.kind} is called {name!r}; {'known: ' * bool(self.names)}{', '.join(self.names)}"
                f"{', or' if self.names else 'give'} a class as package.module:Class"
            )
        if is_dotted(name) and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # last, so that no file there hides a package
        with naming(origin, "cannot be imported"):
            return _imported(origin.path)

    def options(self, name: str, default: Any) -> Any:
        """Return the class of a part's options, ``default`` where it has none of its own; see :meth:`load`."""
        if name in self.builtin:
            return self.builtin[name].options or default
        loaded, origin = self.load(name), self.origin(name)
        if origin is None:
            return getattr(loaded, "Options", default)
        with naming(origin, "has options that cannot be read"):
            return getattr(loaded, "Options", default)

    def origin(self, name: str) -> Origin | None:
        """Return where a part comes from; None for our own, and for names that nobody knows.

        Raises:
            PluginError: several distributions have a part of that name.

        """
        if name in self.builtin:
            return None
        if name in self._registered:
            return origin_of(self.kind, name, self._registered[name])
        points = [point for point in self._points() if point.name == name]
        if len(points) > 1:
            names = ", ".join(sorted(point.dist.name if point.dist else point.value for point in points))
            raise PluginError(f"{self.kind} {name} comes from {names}; uninstall all but one, or name its class")
        if points:
            found = points[0].dist
            name_of, version = (None, None) if found is None else (found.name, found.version)
            path = f"{points[0].module}:{points[0].attr}"
            return Origin(self.kind, name, path, name_of, version, _source_digest(path))
        return _dotted_origin(self.kind, name, name) if is_dotted(name) else None

    def _points(self) -> Iterable[metadata.EntryPoint]:
        """Return the entry points of installed distributions; none takes the name of a part of ours."""
        return [point for point in metadata.entry_points(group=self.group) if point.name not in self.builtin]


def is_dotted(name: str) -> bool:
    """Return whether a name is a class as ``package.module:Class``; shipped models are called ``toyworld:NAME``."""
    return bool(_DOTTED.fullmatch(name)) and not name.startswith(PREFIX)


def origin_of(kind: str, name: str, part: Any) -> Origin:
    """Return where a part comes from that is here as a class, a function or an object."""
    named = part if hasattr(part, "__qualname__") else type(part)
    return _dotted_origin(kind, name, f"{named.__module__}:{named.__qualname__}")


def _dotted_origin(kind: str, name: str, path: str) -> Origin:
    package = path.partition(":")[0].partition(".")[0]
    found = metadata.packages_distributions().get(package, [None])[0]
    version = None if found is None else metadata.version(found)
    return Origin(kind, name, path, found, version, _source_digest(path))


def _source_digest(path: str) -> str | None:
    """Hash the file of a class, which is found without importing it, unless it lies in a package."""
    module = path.partition(":")[0]
    try:
        spec = sys.modules[module].__spec__ if module in sys.modules else find_spec(module)
    except Exception:  # noqa: BLE001 - a package that the module lies in is imported, and may raise anything
        return None
    file = None if spec is None or spec.origin is None else Path(spec.origin)
    return file_sha256(file) if file is not None and file.is_file() else None


def _imported(path: str) -> Any:
    module, _, attributes = path.partition(":")
    return functools.reduce(getattr, attributes.split("."), importlib.import_module(module))


@contextmanager
def naming(origin: Origin, what: str = "went wrong", passing: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Name a plug-in in whatever is raised in it: it is somebody else's code, which may raise anything.

    Args:
        origin: of the plug-in.
        what: went wrong, for the message.
        passing: errors that pass as they are, as do those of an image that cannot be used; with ``MemoryError``, what
            torch raises where memory runs out, too.

    Raises:
        PluginError: one line.

    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, (UnusableError, PluginError, KeyboardInterrupt, GeneratorExit, *passing)):
            raise
        told = error_text(error) or "an error without a text"
        if MemoryError in passing and is_out_of_memory(error) and isinstance(error, MemoryError | RuntimeError):
            raise
        raise PluginError(f"{origin} {what}: {type(error).__name__}: {told}") from error
