"""Registries: exchangeable parts by name. Owns the look-up of parts, and the origin of plug-ins in use.

A part is built in, registered, an entry point of an installed distribution, or named as ``package.module:Class``. It is
imported only when it is requested.
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
    """A built-in part.

    Args:
        path: ``package.module:Class``.
        options: class of its options; None if it has none.
        packages: optional packages that it needs.

    """

    path: str
    options: Any = None
    packages: tuple[Package, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin of a plug-in.

    Args:
        kind: kind of part ("detector").
        name: requested name.
        path: ``package.module:Class``.
        distribution: name of the installed distribution; None if it belongs to none.
        version: version of that distribution.
        sha256: digest of the file that defines the class, since its version does not always change with it; None if
            there is no such file.

    """

    kind: str
    name: str
    path: str
    distribution: str | None
    version: str | None
    sha256: str | None = None

    def __str__(self) -> str:
        """Return a one-line name for messages."""
        of = f" of {self.distribution} {self.version}" if self.distribution else ""
        return f"{self.kind} {self.name}{'' if self.name == self.path else f' ({self.path})'}{of}"


class Registry:
    """Parts of one kind by name.

    Args:
        kind: kind of the parts, for messages ("source"); their entry points have the group ``datasetkit.KINDs``.
        builtin: built-in parts by name.

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
        """Register a part by name, in this process.

        Args:
            name: a name that no part has yet.
            part: the class.

        Raises:
            PluginError: another part has that name.

        """
        if name in self.names and self._registered.get(name) is not part:
            raise PluginError(f"there is already a {self.kind} {name}; register {part!r} by another name")
        self._registered[name] = part

    def has(self, name: str) -> bool:
        """Return whether a name is known, or a class, written ``package.module:Class``."""
        return name in self.names or is_dotted(name)

    def is_local(self, name: str) -> bool:
        """Return whether a part was registered in this process, so that other processes do not know it."""
        return name in self._registered

    def load(self, name: str) -> Any:
        """Import and return the part called ``name``.

        Raises:
            UnknownNameError: no part has that name; the message lists those that exist.
            MissingPackageError: a package that a built-in part needs does not work here.
            PluginError: the part cannot be imported.

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
            sys.path.append(str(Path.cwd()))  # last, so that no local file hides a package
        with naming(origin, "cannot be imported"):
            return _imported(origin.path)

    def options(self, name: str, default: Any) -> Any:
        """Return the class of a part's options, or ``default`` if it has none; see :meth:`load`."""
        if name in self.builtin:
            return self.builtin[name].options or default
        loaded, origin = self.load(name), self.origin(name)
        if origin is None:
            return getattr(loaded, "Options", default)
        with naming(origin, "has options that cannot be read"):
            return getattr(loaded, "Options", default)

    def origin(self, name: str) -> Origin | None:
        """Return the origin of a part; None for a built-in part or an unknown name.

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
        """Return the entry points of installed distributions; names of built-in parts are ignored."""
        return [point for point in metadata.entry_points(group=self.group) if point.name not in self.builtin]


def is_dotted(name: str) -> bool:
    """Return whether a name is a class, as ``package.module:Class``; shipped models are called ``toyworld:NAME``."""
    return bool(_DOTTED.fullmatch(name)) and not name.startswith(PREFIX)


def origin_of(kind: str, name: str, part: Any) -> Origin:
    """Return the origin of a part given as a class, a function or an object."""
    named = part if hasattr(part, "__qualname__") else type(part)
    return _dotted_origin(kind, name, f"{named.__module__}:{named.__qualname__}")


def _dotted_origin(kind: str, name: str, path: str) -> Origin:
    package = path.partition(":")[0].partition(".")[0]
    found = metadata.packages_distributions().get(package, [None])[0]
    version = None if found is None else metadata.version(found)
    return Origin(kind, name, path, found, version, _source_digest(path))


def _source_digest(path: str) -> str | None:
    """Hash the file that defines a class, which is found without importing it unless it is in a package."""
    module = path.partition(":")[0]
    try:
        spec = sys.modules[module].__spec__ if module in sys.modules else find_spec(module)
    except Exception:  # noqa: BLE001 - the package of the module is imported, and may raise anything
        return None
    file = None if spec is None or spec.origin is None else Path(spec.origin)
    return file_sha256(file) if file is not None and file.is_file() else None


def _imported(path: str) -> Any:
    module, _, attributes = path.partition(":")
    return functools.reduce(getattr, attributes.split("."), importlib.import_module(module))


@contextmanager
def naming(origin: Origin, what: str = "failed", passing: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Turn any error in the body into one that names the plug-in, whose code may raise anything.

    Args:
        origin: origin of the plug-in.
        what: what failed, for the message.
        passing: errors that are not replaced, in addition to those of an unusable image; ``MemoryError`` includes
            out-of-memory errors of torch.

    Raises:
        PluginError: the body failed; one line.

    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, (UnusableError, PluginError, KeyboardInterrupt, GeneratorExit, *passing)):
            raise
        text = error_text(error) or "an error without a message"
        if MemoryError in passing and is_out_of_memory(error) and isinstance(error, MemoryError | RuntimeError):
            raise
        raise PluginError(f"{origin} {what}: {type(error).__name__}: {text}") from error
