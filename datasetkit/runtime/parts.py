"""Exchangeable parts at work. Owns how one is made of its options, and that what goes wrong in a plug-in names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from datasetkit.core.errors import DatasetkitError, PluginError, UnusableError
from datasetkit.core.text import one_line
from datasetkit.runtime.registry import Origin, Registry, origin_of


def make_part(registry: Registry, options: Any, promises: Mapping[str, Any], **more: Any) -> Any:
    """Make a part.

    Args:
        registry: that names it.
        options: of the part; its class is given them and ``more``, as far as its constructor has parameters of these
            names. Where they hold the part itself, it is taken as it is.
        promises: the methods that it must have, and what each returns: one object of the type for each of its first
            argument's items (an ``UnusableError`` where there is none), or, of methods that take one item, the object.
        more: what else parts of this kind are made of.

    Raises:
        PluginError: a plug-in cannot be made, or lacks a method.

    """
    made, origin = options.instance, origin_of_options(registry, options)
    if origin is None:
        return _made(registry.load(options.name), options=options, **more)
    if made is None:
        kind = registry.load(options.name)
        with naming(origin):
            made = _made(kind, options=options, **more)
    if lacking := [name for name in promises if not callable(getattr(made, name, None))]:
        raise PluginError(f"{origin} has no method {lacking[0]}; see docs/plugins.md")
    return Guarded(made, origin, promises)


def _made(kind: Any, **given: Any) -> Any:
    """Call a class with what its constructor has a parameter for."""
    parameters = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in given.items() if name in parameters})


def origin_of_options(registry: Registry, options: Any) -> Origin | None:
    """Return where the part comes from that options name or hold; None for our own."""
    if options.instance is None:
        return registry.origin(options.name)
    return origin_of(registry.kind, options.name, options.instance)


class Guarded:
    """A plug-in whose errors, and answers of another form than promised, are one line that names it.

    Args:
        part: the object.
        origin: where it comes from.
        promises: as of :func:`make_part`.

    """

    def __init__(self, part: Any, origin: Origin, promises: Mapping[str, Any]) -> None:
        self._part = part
        self._origin = origin
        self._promises = promises

    @property
    def identities(self) -> tuple[Any, ...]:
        """The weights in use, where the part says so."""
        return tuple(getattr(self._part, "identities", ()))

    def __len__(self) -> int:
        with naming(self._origin):
            return len(self._part)

    def __getitem__(self, place: Any) -> Any:
        with naming(self._origin):
            return self._part[place]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return self._guarded(name, found) if callable(found) else found

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            with naming(self._origin):
                answer = method(*args, **named)
            self._check(name, args, answer)
            return self._items(answer) if isinstance(answer, Iterator) else answer

        return call

    def _items(self, answer: Iterator[Any]) -> Iterator[Any]:
        with naming(self._origin):
            yield from answer

    def _check(self, name: str, args: tuple[Any, ...], answer: Any) -> None:
        kind = self._promises.get(name)
        if kind is None:
            return
        items = answer if isinstance(args[0] if args else None, Sequence) and not isinstance(args[0], str) else [answer]
        if not isinstance(items, list | tuple) or (items is answer and len(items) != len(args[0])):
            raise PluginError(
                f"{self._origin}: {name} returned {_spelt(answer)} for {len(args[0])} items; return a list of as many"
            )
        for item in items:
            if not isinstance(item, (kind, UnusableError)):
                raise PluginError(f"{self._origin}: {name} returned {_spelt(item)}, not {kind.__name__}")


@contextmanager
def naming(origin: Origin) -> Iterator[None]:
    """Name a plug-in in what goes wrong in it; errors of ours and shortage of memory pass as they are."""
    try:
        yield
    except (DatasetkitError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower():
            raise
        raise PluginError(f"{origin} went wrong: {type(error).__name__}: {one_line(error)}") from error


def _spelt(answer: object) -> str:
    return f"{len(answer)} items" if isinstance(answer, list | tuple) else f"a {type(answer).__name__}"
