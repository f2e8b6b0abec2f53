"""Steps that every item of a stream goes through. Owns the three kinds of stages, which know nothing of records.

A CPU stage runs in the lanes of a pool. A device stage runs batches in the one thread that all device stages of a
worker share, and may have a part for the CPU lanes that comes first. A stage that runs ahead has many requests to
another machine under way. :mod:`datasetkit.runtime.stages.chain` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Prepared

Item = TypeVar("Item")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[Item]):
    """One step of every item; its function is called with an argument that is made from the item.

    ``ask`` and ``answer`` are called from several threads, and do not compute anything.

    Args:
        name: for timers, which count items.
        ask: returns the argument for an item; None if the item skips the stage.
        answer: returns the item with the function's result.

    """

    name: str
    ask: Callable[[Item], Any]
    answer: Callable[[Item, Any], Item]

    def within(self, get: Callable[[Other], Item | None], put: Callable[[Other, Item], Other]) -> Self:
        """Return the stage for larger items, of which these are a part; those without it skip the stage."""

        def ask(item: Other) -> Any:
            part = get(item)
            return None if part is None else self.ask(part)

        def answer(item: Other, result: Any) -> Other:
            part = get(item)
            return item if part is None else put(item, self.answer(part, result))

        return replace(self, ask=ask, answer=answer)  # type: ignore[arg-type] # of the other type of items


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuStage(Stage[Item]):
    """A step that computes on a CPU.

    Args:
        function: of one argument. It may raise an ``UnusableError``.

    """

    function: Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AheadStage(Stage[Item]):
    """A step that waits for another machine.

    Args:
        function: of one argument, called from many threads at once.
        limit: number of calls at once.

    """

    function: Callable[[Any], Any]
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStage(Stage[Item]):
    """A step that computes on the device, on batches of items.

    Args:
        forward: called with the arguments of a batch and with what ``prepare`` returned for each, None without it;
            returns a result or an ``UnusableError`` for each.
        size: items per batch; halved where memory runs out.
        prepare: computes on a CPU what ``forward`` needs of an argument, and which items may share a batch.

    """

    forward: Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
    size: int
    prepare: Callable[[Any], Prepared] | None = None


@dataclass(frozen=True, slots=True)
class Failed(Generic[Item]):
    """An item that a stage could not use, as it was before that stage, and why."""

    item: Item
    error: UnusableError
