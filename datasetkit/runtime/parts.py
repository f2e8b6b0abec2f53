"""Exchangeable parts in use. Owns their creation from options, and the rule that errors in a plug-in name it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import PluginError, UnusableError
from datasetkit.core.protocols import Prepared, Preparer
from datasetkit.runtime.registry import Origin, Registry, naming, origin_of


@dataclass(frozen=True, slots=True)
class Promise:
    """Return type of a method of a part.

    Args:
        kind: type of the result, or of each item of a list as long as the first argument, in which an
            ``UnusableError`` may replace an item.
        is_batch: whether the method takes several items at once; out-of-memory errors then pass, to halve the batch.
        is_optional: whether a part may lack the method.
        fault: returns what is wrong with a result, given the result and its item of each argument; None if nothing is.

    """

    kind: type | tuple[type, ...]
    is_batch: bool = False
    is_optional: bool = False
    fault: Callable[..., str | None] = lambda *_: None


def make_part(
    registry: Registry,
    options: Any,
    promises: Mapping[str, Promise],
    needs: Sequence[str] | None = None,
    **more: Any,
) -> Any:
    """Create a part.

    Args:
        registry: registry of the part.
        options: options of the part; the constructor gets them and ``more``, as far as it has parameters of these
            names. If they contain the part as an object, that is used.
        promises: return types of its methods.
        needs: methods that it must have; None for all methods in ``promises`` that are not optional.
        more: further arguments for parts of this kind.

    Raises:
        PluginError: a plug-in cannot be created, or lacks a method.

    """
    made, origin = options.instance, origin_of_options(registry, options)
    if origin is None:
        return _made(registry.load(options.name), options=options, **more)
    with naming(origin):
        if made is None:
            made = _made(registry.load(options.name), options=options, **more)
        needed = [name for name, promise in promises.items() if not promise.is_optional] if needs is None else [*needs]
        needed += ["forward"] if hasattr(made, "preparer") else []
        lacking = [name for name in needed if not callable(getattr(made, name, None))]
    if lacking:
        raise PluginError(f"{origin} has no method {lacking[0]}; see docs/how-to/plugins.md")
    return Guarded(made, origin, promises)


def _made(kind: Any, **given: Any) -> Any:
    """Call a class with those arguments that its constructor has parameters for."""
    parameters = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in given.items() if name in parameters})


def origin_of_options(registry: Registry, options: Any) -> Origin | None:
    """Return the origin of the part that options name or contain; None for a built-in part."""
    if options.instance is None:
        return registry.origin(options.name)
    return origin_of(registry.kind, options.name, options.instance)


@dataclass(frozen=True, slots=True)
class _GuardedPreparer:
    """The preparer of a plug-in, in whichever process it is; see :class:`Guarded`."""

    preparer: Preparer
    origin: Origin

    def __call__(self, image: Image.Image, *asked: Any) -> Prepared:
        with naming(self.origin, passing=(MemoryError,)):
            found = self.preparer(image, *asked)
        if not isinstance(found, Prepared):
            raise PluginError(f"{self.origin}: its preparer returned {_spelt(found)}, not Prepared")
        with naming(self.origin, "has a preparer whose keys cannot be compared"):
            hash(found.key)
        return found


class Guarded:
    """A plug-in whose errors and wrong results are reported in one line that names it.

    Args:
        part: the object.
        origin: origin of the plug-in.
        promises: return types of its methods.

    """

    def __init__(self, part: Any, origin: Origin, promises: Mapping[str, Promise]) -> None:
        self._part = part
        self._origin = origin
        self._promises = promises

    @property
    def identities(self) -> tuple[ModelIdentity, ...]:
        """The weights in use, if the part states them."""
        with naming(self._origin):
            found = tuple(getattr(self._part, "identities", ()))
        if not all(isinstance(one, ModelIdentity) for one in found):
            raise PluginError(f"{self._origin}: identities must be of the class ModelIdentity")
        return found

    @property
    def preparer(self) -> Preparer:
        """The preparer of a model, if it has one; see :class:`datasetkit.core.protocols.PreparedModel`."""
        with naming(self._origin, passing=(AttributeError,)):
            return _GuardedPreparer(self._part.preparer, self._origin)

    def __reduce__(self) -> Any:
        """Refuse copies: the object may have state, and is called from threads of this process only."""
        raise TypeError(f"{self._origin} is not copied to other processes")

    def __len__(self) -> int:
        with naming(self._origin):
            return len(self._part)

    def __getitem__(self, place: Any) -> Any:
        with naming(self._origin, passing=(MemoryError,)):
            return self._part[place]

    def __getattr__(self, name: str) -> Any:
        with naming(self._origin, passing=(AttributeError,)):
            found = getattr(self._part, name)
        return self._guarded(name, found) if callable(found) else found

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        promise = self._promises.get(name)
        passing = (MemoryError,) if promise is not None else ()

        def call(*given: Any, **named: Any) -> Any:
            args = tuple(tuple(item) if isinstance(item, list) else item for item in given)  # not to be changed
            with naming(self._origin, passing=passing):
                answer = method(*args, **named)
            if promise is not None:
                self._check(name, promise, args, answer)
            return self._items(answer) if isinstance(answer, Iterator) else answer

        return call

    def _items(self, answer: Iterator[Any]) -> Iterator[Any]:
        with naming(self._origin):
            yield from answer

    def _check(self, name: str, promise: Promise, args: tuple[Any, ...], answer: Any) -> None:
        start, rows = f"{self._origin}: {name} returned", [(answer, *args)]
        if promise.is_batch:
            if not isinstance(answer, list | tuple) or len(answer) != len(args[0]):
                raise PluginError(f"{start} {_spelt(answer)} for {len(args[0])} images; return a list of equal length")
            rows = list(zip(answer, *args, strict=True))
        for item, *of in rows:
            if promise.is_batch and isinstance(item, UnusableError):
                continue
            if not isinstance(item, promise.kind):
                raise PluginError(f"{start} {_spelt(item)}, not {_names(promise.kind)}")
            with naming(self._origin):
                fault = promise.fault(item, *of)
            if fault is not None:
                raise PluginError(f"{start} {fault}")


def _spelt(answer: object) -> str:
    return f"{len(answer)} items" if isinstance(answer, list | tuple) else f"a {type(answer).__name__}"


def _names(kinds: type | tuple[type, ...]) -> str:
    every = kinds if isinstance(kinds, tuple) else (kinds,)
    return " or ".join("None" if one is type(None) else one.__name__ for one in every)
