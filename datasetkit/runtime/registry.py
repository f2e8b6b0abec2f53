"""Registries: exchangeable parts by name. Owns where a part is looked up, and what of another distribution is in use.

A part is one of ours, was registered, is an entry point of an installed distribution, or is named as
``package.module:Class``. It is imported only when it is asked for.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from datasetkit.core.errors import PluginError, UnknownNameError
from datasetkit.core.text import one_line
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

    """

    kind: str
    name: str
    path: str
    distribution: str | None
    version: str | None

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
                f"no {self.kind} is called {name!r}; known: {', '.join(self.names) or 'none'}, or a class as "
                "package.module:Class"
            )
        if is_dotted(name) and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # last, so that no file there hides a package
        try:
            return _imported(origin.path)
        except Exception as error:
            raise PluginError(f"{origin} cannot be imported: {type(error).__name__}: {one_line(error)}") from error

    def options(self, name: str, default: Any) -> Any:
        """Return the class of a part's options, ``default`` where it has none of its own; see :meth:`load`."""
        if name in self.builtin:
            return self.builtin[name].options or default
        return getattr(self.load(name), "Options", default)

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
            told = (None, None) if found is None else (found.name, found.version)
            return Origin(self.kind, name, points[0].value, *told)
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
    return Origin(kind, name, path, found, None if found is None else metadata.version(found))


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
