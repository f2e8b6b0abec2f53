"""Batches gathered from a sequence. Owns which items go together: a function of the sequence, never of timing."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from datasetkit.core.protocols import Prepared
from datasetkit.runtime.stages.kinds import DeviceStage

Item = TypeVar("Item")

# Full batches that a device stage prepares while others wait to be full.
BATCHES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a chain holds.

    Args:
        span: the most items from the first member of an incomplete batch to the latest item of the sequence.
        span_bytes: the same limit in bytes of items.

    """

    span: int = 32
    span_bytes: int = 2**29


class Gatherer(Generic[Item]):
    """Gathers items with equal keys into batches.

    Items are passed in the order of the sequence, with those that take no part. A batch is complete when it is full, or
    when its first member has waited long enough: the sequence has then gone on by ``span`` items, the member included,
    or by items that weigh ``span_bytes`` together. At the beginning of the sequence, where the device has nothing else
    to do, members wait for as many items as came before them, or for those of one batch.

    Args:
        size: members of a full batch.
        span: the most items between the first member of a batch and the latest item, both included.
        span_bytes: the same limit as a sum of weights.

    """

    def __init__(self, size: int, span: int, span_bytes: int) -> None:
        self._size = size
        self._span = span
        self._span_bytes = span_bytes
        self._passed = self._passed_bytes = 0
        # Of each key: items and bytes that had passed before its first member, and the members. A bucket is removed
        # when its batch is complete, so that buckets are in the order of their first members.
        self._buckets: dict[Hashable, tuple[int, int, list[Item]]] = {}

    def skip(self, weight: int) -> list[list[Item]]:
        """Pass an item that takes no part; return the batches that are complete now."""
        self._passed += 1
        self._passed_bytes += weight
        return self._overdue()

    def add(self, member: Item, key: Hashable, weight: int) -> list[list[Item]]:
        """Pass an item; return the batches that are complete now, in order."""
        members = self._buckets.setdefault(key, (self._passed, self._passed_bytes, []))[2]
        members.append(member)
        full = [self._buckets.pop(key)[2]] if len(members) >= self._size else []
        return full + self.skip(weight)

    def rest(self) -> list[list[Item]]:
        """Return the incomplete batches at the end of the sequence, in the order of their first members."""
        rest = [members for _, _, members in self._buckets.values()]
        self._buckets.clear()
        return rest

    def _overdue(self) -> list[list[Item]]:
        overdue = []
        while self._buckets:
            key, (passed, passed_bytes, members) = next(iter(self._buckets.items()))
            span = min(self._span, max(self._size, passed))
            if self._passed - passed < span and self._passed_bytes - passed_bytes < self._span_bytes:
                break
            overdue.append(members)
            del self._buckets[key]
        return overdue


@dataclass(frozen=True, slots=True)
class Member(Generic[Item]):
    """An item at a device stage: its index in the sequence, the argument of the stage, and what was prepared of it."""

    index: int
    item: Item
    argument: Any
    value: Any = None


class Gate(Generic[Item]):
    """Items before a device stage: in order, prepared a few batches ahead, gathered.

    Attributes:
        ready: batches that the device can run.

    """

    def __init__(self, stage: DeviceStage[Item], bounds: Bounds) -> None:
        self.stage = stage
        self.ready: deque[list[Member[Item]]] = deque()
        self._gatherer: Gatherer[Member[Item]] = Gatherer(stage.size, bounds.span, bounds.span_bytes)
        self._most = bounds.span + BATCHES_AHEAD * stage.size
        self._held = 0
        self._arrived: dict[int, Member[Item] | None] = {}
        self._next_arrival = 0
        self._prepared: dict[int, tuple[Member[Item], Prepared] | None] = {}
        self._next_prepared = 0

    def arrive(self, index: int, member: Member[Item] | None) -> None:
        """Take an item; None for one that takes no part."""
        self._arrived[index] = member

    def admitted(self) -> Generator[Member[Item]]:
        """Yield the members whose turn it is to be prepared."""
        while self._next_arrival in self._arrived:
            member = self._arrived[self._next_arrival]
            if member is not None and self._held >= self._most:
                return
            del self._arrived[self._next_arrival]
            self._next_arrival += 1
            if member is None:
                self._prepared[self._next_arrival - 1] = None
            else:
                self._held += 1
                yield member

    def prepared(self, member: Member[Item], result: Prepared | None) -> None:
        """Take what was prepared of a member; None if it failed."""
        self._prepared[member.index] = None if result is None else (member, result)
        self._held -= result is None

    def gather(self, weights: Sequence[int], *, is_whole: bool) -> None:
        """Gather all that is in order.

        Args:
            weights: of all items so far.
            is_whole: whether these are all items of the sequence.

        """
        while self._next_prepared in self._prepared:
            found = self._prepared.pop(self._next_prepared)
            weight = weights[self._next_prepared]
            self._next_prepared += 1
            if found is None:
                self.ready.extend(self._gatherer.skip(weight))
            else:
                member, result = found
                whole = Member(member.index, member.item, member.argument, result.value)
                self.ready.extend(self._gatherer.add(whole, result.key, weight))
        if is_whole and self._next_prepared == len(weights):
            self.ready.extend(self._gatherer.rest())

    def take(self) -> list[Member[Item]]:
        """Return the next batch, which is held no longer."""
        batch = self.ready.popleft()
        self._held -= len(batch)
        return batch
