"""Stages at work on a stream of items. Owns which stage works on which item, when, and how much is under way.

    items -> CPU lanes -> in order -> prepare -> gather -> device thread -> CPU lanes -> in order

What reaches a device stage is put in order first, and then gathered, so that batches depend on the sequence of items
alone, not on timing. Memory is bounded: an item enters only while few others are under way, in number and in bytes, and
each device stage prepares only a few batches ahead. Of all that could be done next, the latest stage comes first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Prepared
from datasetkit.runtime.batches import Batches
from datasetkit.runtime.stages.gathering import BATCHES_AHEAD, Bounds, Gate, Member
from datasetkit.runtime.stages.kinds import AheadStage, CpuStage, DeviceStage, Failed, Stage
from datasetkit.runtime.stages.lanes import Job, Kind, Pool
from datasetkit.runtime.stages.timers import Stages

Item = TypeVar("Item")

_UNPREPARED = Prepared(None, None)
# Items of each CPU lane beyond those that device stages hold.
_ITEMS_PER_LANE = 2


def pool_of(chain: Sequence[Stage[Any]], lanes: int, kind: Kind) -> Pool:
    """Return a pool for the CPU work of a chain; see :class:`~datasetkit.runtime.stages.lanes.Pool`."""
    functions: dict[str, Callable[[Any], Any]] = {}
    for stage in chain:
        if isinstance(stage, CpuStage):
            functions[stage.name] = stage.function
        elif isinstance(stage, DeviceStage) and stage.prepare is not None:
            functions[_prepare_name(stage)] = stage.prepare
    return Pool(functions, lanes, kind)


def run(
    items: Iterable[Item],
    chain: Sequence[Stage[Item]],
    pool: Pool,
    timers: Stages,
    *,
    bounds: Bounds,
    weight: Callable[[Item], int] = lambda _: 0,
) -> Generator[Item | Failed[Item]]:
    """Take items through all stages; yield them in their order.

    The items are taken in the calling thread. If the consumer stops early, or anything but an ``UnusableError`` is
    raised, what has not begun is dropped, and the threads of this call end after what they are doing.

    Args:
        items: the source.
        chain: the stages, with distinct names.
        pool: of this chain; it outlives the call.
        timers: of the stages.
        bounds: how much is held at once.
        weight: bytes that an item holds, as it enters.

    """
    yield from _Run(chain, pool, timers, bounds, weight).results(items)


class _Run(Generic[Item]):
    """One stream of items. All methods but ``results`` are called with the lock, or take it."""

    def __init__(
        self,
        chain: Sequence[Stage[Item]],
        pool: Pool,
        timers: Stages,
        bounds: Bounds,
        weight: Callable[[Item], int],
    ) -> None:
        self._chain = tuple(chain)
        self._pool = pool
        self._timers = timers
        self._weight = weight
        self._gates = {
            place: Gate(stage, bounds) for place, stage in enumerate(chain) if isinstance(stage, DeviceStage)
        }
        self._ahead = {
            place: Pool({stage.name: stage.function}, stage.limit, "shared")
            for place, stage in enumerate(chain)
            if isinstance(stage, AheadStage)
        }
        # More than all gates together wait for, so that one of them always goes on.
        self._most = _ITEMS_PER_LANE * pool.lanes + sum(ahead.lanes for ahead in self._ahead.values())
        self._most += sum(bounds.span + BATCHES_AHEAD * gate.stage.size for gate in self._gates.values())
        self._most_bytes = bounds.span_bytes * max(len(self._gates), 1)
        self._weights: list[int] = []
        self._bytes = 0
        self._next_result = 0
        self._is_whole = False
        self._results: dict[int, Item | Failed[Item]] = {}
        self._error: BaseException | None = None
        self._is_stopped = False
        self._changed = threading.Condition(threading.RLock())
        for stage in self._chain:
            self._declare(stage)

    def results(self, items: Iterable[Item]) -> Generator[Item | Failed[Item]]:
        """Yield the items in order; see :func:`run`."""
        source = iter(items)
        device = threading.Thread(target=self._drive, name="device", daemon=True)
        device.start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(self._has_news)
                    if self._error is not None:
                        raise self._error
                    is_done = self._next_result in self._results
                    if is_done:
                        result = self._results.pop(self._next_result)
                        self._bytes -= self._weights[self._next_result]
                        self._next_result += 1
                    elif self._is_whole and self._next_result == len(self._weights):
                        return
                if is_done:
                    yield result
                else:
                    self._take(source)
        finally:
            with self._changed:
                self._is_stopped = True
                self._changed.notify_all()
            self._pool.drop(self)
            for ahead in self._ahead.values():
                ahead.close(waits=False)
            device.join()

    def _declare(self, stage: Stage[Item]) -> None:
        if isinstance(stage, DeviceStage):
            self._timers.declare(stage.name, 1, on_device=True)
            if stage.prepare is not None:
                self._timers.declare(_prepare_name(stage), self._pool.lanes)
        else:
            self._timers.declare(stage.name, stage.limit if isinstance(stage, AheadStage) else self._pool.lanes)

    def _has_news(self) -> bool:
        if self._error is not None or self._next_result in self._results:
            return True
        under_way = len(self._weights) - self._next_result
        return (under_way == 0) if self._is_whole else (under_way < self._most and self._bytes < self._most_bytes)

    def _take(self, source: Iterable[Item]) -> None:
        """Take one item of the source; or note its end, and let incomplete batches go."""
        for item in source:
            weight = self._weight(item)
            with self._changed:
                self._weights.append(weight)
                self._bytes += weight
                self._enter(len(self._weights) - 1, item, 0)
            return
        with self._changed:
            self._is_whole = True
            for gate in self._gates.values():
                self._advance(gate)

    def _enter(self, index: int, item: Item, place: int) -> None:
        """Let an item go on from a place in the chain."""
        for number, stage in enumerate(self._chain[place:], place):
            argument = stage.ask(item)
            if isinstance(stage, DeviceStage):
                gate = self._gates[number]
                gate.arrive(index, None if argument is None else Member(index, item, argument))
                self._advance(gate)
            elif argument is not None:
                done = partial(self._computed, index, item, number)
                lanes, order = self._ahead.get(number, self._pool), (-number, index)
                lanes.submit(Job(self, stage.name, argument, done), order)
            if argument is not None:
                return
        self._results[index] = item
        self._changed.notify_all()

    def _advance(self, gate: Gate[Item]) -> None:
        """Prepare what a gate admits, and gather what is prepared."""
        stage = gate.stage
        for member in gate.admitted():
            if stage.prepare is None:
                gate.prepared(member, _UNPREPARED)
            else:
                done = partial(self._prepared, gate, member)
                order = (-self._chain.index(stage), member.index)
                self._pool.submit(Job(self, _prepare_name(stage), member.argument, done), order)
        gate.gather(self._weights, is_whole=self._is_whole)
        self._changed.notify_all()

    def _computed(
        self, index: int, item: Item, place: int, result: Any, error: BaseException | None, seconds: float
    ) -> None:
        """Take the result of a CPU stage, or of one that runs ahead; called in a lane's thread."""
        stage = self._chain[place]
        self._timers.count(stage.name, seconds, int(error is None))

        def go_on() -> None:
            if error is None:
                self._enter(index, stage.answer(item, result), place + 1)
            else:
                self._fail(index, item, place, error)

        self._safely(go_on)

    def _prepared(
        self, gate: Gate[Item], member: Member[Item], result: Any, error: BaseException | None, seconds: float
    ) -> None:
        """Take what was prepared for a device stage; called in a lane's thread."""
        self._timers.count(_prepare_name(gate.stage), seconds, int(error is None))

        def go_on() -> None:
            gate.prepared(member, result)
            self._advance(gate)
            if error is not None:
                self._fail(member.index, member.item, self._chain.index(gate.stage), error)

        self._safely(go_on)

    def _safely(self, go_on: Callable[[], None]) -> None:
        """Call a function with the lock, unless the end has come; its error is raised in the calling thread."""
        with self._changed:
            try:
                if not self._is_stopped:
                    go_on()
            except BaseException as error:  # noqa: BLE001 - raised again
                self._stop(error)

    def _fail(self, index: int, item: Item, place: int, error: BaseException) -> None:
        """End the way of an item that a stage could not use; raise any other error."""
        if not isinstance(error, UnusableError):
            raise error
        for number, gate in self._gates.items():
            if number > place:
                gate.arrive(index, None)
                self._advance(gate)
        self._results[index] = Failed(item, error)
        self._changed.notify_all()

    def _stop(self, error: BaseException) -> None:
        self._error = self._error or error
        self._is_stopped = True
        self._changed.notify_all()

    def _drive(self) -> None:
        """Run batches on the device, those of the latest stage first."""
        batches: dict[int, Batches[Member[Item], Any]] = {
            place: Batches(partial(_forward, gate.stage), gate.stage.size, f"items of the stage {gate.stage.name}")
            for place, gate in self._gates.items()
        }
        try:
            while (batch := self._next_batch()) is not None:
                place, members = batch
                start, halved = time.perf_counter(), batches[place].halvings
                results = batches[place].run(members)
                spent, halved = time.perf_counter() - start, batches[place].halvings - halved
                self._timers.count(self._chain[place].name, spent, len(members), halved)
                with self._changed:
                    for member, result in zip(members, results, strict=True):
                        if isinstance(result, UnusableError):
                            self._fail(member.index, member.item, place, result)
                        else:
                            answered = self._chain[place].answer(member.item, result)
                            self._enter(member.index, answered, place + 1)
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            with self._changed:
                self._stop(error)

    def _next_batch(self) -> tuple[int, list[Member[Item]]] | None:
        """Wait for a batch; return it with the place of its stage, or None at the end."""
        with self._changed:
            while not self._is_stopped:
                for place, gate in reversed(self._gates.items()):
                    if gate.ready:
                        batch = gate.take()
                        self._advance(gate)
                        return place, batch
                self._changed.wait()
        return None


def _forward(stage: DeviceStage[Item], members: Sequence[Member[Item]]) -> Sequence[Any]:
    return stage.forward([member.argument for member in members], [member.value for member in members])


def _prepare_name(stage: DeviceStage[Any]) -> str:
    return f"prepare {stage.name}"
