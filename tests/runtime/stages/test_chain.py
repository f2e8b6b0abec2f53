"""Stages at work: order, batches that timing does not change, errors, ends, bounds, and which work comes first."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import Prepared
from datasetkit.runtime.stages.chain import pool_of, run
from datasetkit.runtime.stages.gathering import Bounds, Gatherer
from datasetkit.runtime.stages.kinds import AheadStage, CpuStage, DeviceStage, Failed, Stage
from datasetkit.runtime.stages.timers import Stages

WAIT_S = 20.0


def same(item: int) -> Any:
    return item


def keep(item: int, _: Any) -> int:
    return item


def cpu(function: Callable[[int], Any], name: str = "cpu", ask: Callable[[int], Any] = same) -> Stage[int]:
    return CpuStage(name=name, ask=ask, answer=keep, function=function)


def device(
    forward: Callable[[Sequence[int], Sequence[Any]], Sequence[Any]],
    name: str = "device",
    size: int = 4,
    prepare: Callable[[int], Prepared] | None = None,
    ask: Callable[[int], Any] = same,
) -> Stage[int]:
    return DeviceStage(name=name, ask=ask, answer=keep, forward=forward, size=size, prepare=prepare)


def results(
    items: Iterable[int], *chain: Stage[int], lanes: int = 3, timers: Stages | None = None, **more: Any
) -> Iterator[int | Failed[int]]:
    with closing(pool_of(chain, lanes, "threads")) as pool:
        yield from run(items, chain, pool, timers or Stages(), bounds=Bounds(**more))


def no_more_threads(before: int) -> bool:
    end = time.monotonic() + WAIT_S
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    return threading.active_count() <= before


def answers(asked: Sequence[int], _: Sequence[Any]) -> list[int]:
    return list(asked)


class Batches:
    """Records the batches of a device stage."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, asked: Sequence[int], prepared: Sequence[Any]) -> Sequence[Any]:
        self.seen.append(tuple(asked))
        return list(asked)


def expected(keys: Sequence[int | None], size: int, span: int) -> list[tuple[int, ...]]:
    """Return the batches of items with these keys; None for those that take no part."""
    gatherer: Gatherer[int] = Gatherer(size, span, 10**9)
    found = [gatherer.skip(0) if key is None else gatherer.add(item, key, 0) for item, key in enumerate(keys)]
    return [tuple(batch) for batches in (*found, gatherer.rest()) for batch in batches]


def hasty(seed: int) -> Callable[[int], Any]:
    """Return a function that sometimes takes longer, so that items overtake each other."""
    chance = random.Random(seed)
    return lambda _: time.sleep(chance.choice([0.0, 0.0, 0.002]))


@pytest.mark.parametrize("lanes", [1, 2, 6])
@pytest.mark.parametrize("seed", [0, 1])
def test_batches_and_order_do_not_depend_on_timing(lanes: int, seed: int) -> None:
    first, second, wait = Batches(), Batches(), hasty(seed)

    def prepare(item: int) -> Prepared:
        wait(item)
        if item % 17 == 5:
            raise UnusableError(DropReason.EMPTY, f"{item}")
        return Prepared(item % 3, -item)

    chain = (
        cpu(wait, "read"),
        AheadStage(
            name="ahead", ask=lambda item: item if item % 2 else None, answer=keep, function=wait, limit=2 * lanes
        ),
        device(first, "first", 4, prepare),
        cpu(wait, "between", lambda item: None if item % 5 == 0 else item),
        device(second, "second", 3, prepare, lambda item: None if item % 4 == 0 else item),
        cpu(wait, "write"),
    )
    found = list(results(range(90), *chain, lanes=lanes, span=9))
    assert [one.item if isinstance(one, Failed) else one for one in found] == list(range(90))
    assert [one.item for one in found if isinstance(one, Failed)] == list(range(5, 90, 17))
    keys = [None if item % 17 == 5 else item % 3 for item in range(90)]
    assert sorted(first.seen) == sorted(expected(keys, 4, 9))
    assert sorted(second.seen) == sorted(expected([None if i % 4 == 0 else key for i, key in enumerate(keys)], 3, 9))


def test_prepared_values_reach_their_arguments() -> None:
    seen: list[tuple[int, int]] = []

    def forward(asked: Sequence[int], prepared: Sequence[Any]) -> Sequence[Any]:
        seen.extend(zip(asked, prepared, strict=True))
        return asked

    stage: Stage[int] = DeviceStage(
        name="device",
        ask=same,
        answer=lambda item, result: item + 100 * result,
        forward=forward,
        size=2,
        prepare=lambda item: Prepared(None, -item),
    )
    assert list(results(range(5), stage)) == [0, 101, 202, 303, 404]
    assert seen == [(item, -item) for item in range(5)]


def test_unusable_items_skip_the_rest_and_keep_their_place() -> None:
    later = Batches()

    def refuse(asked: Sequence[int], _: Sequence[Any]) -> list[Any]:
        return [UnusableError(DropReason.NOT_FINITE, "no") if item in {1, 2} else item for item in asked]

    found = list(results(range(5), device(refuse, "one", 2), device(later, "two", 2)))
    assert [isinstance(one, Failed) for one in found] == [False, True, True, False, False]
    assert [(one.item, one.error.reason) for one in found if isinstance(one, Failed)] == [
        (1, DropReason.NOT_FINITE),
        (2, DropReason.NOT_FINITE),
    ]
    assert later.seen == [(0,), (3, 4)], "the very first item waits for those of one batch only"


def test_item_without_memory_on_a_cpu_is_lost_alone() -> None:
    def greedy(item: int) -> None:
        if item == 1:
            raise MemoryError

    (lost,) = [one for one in results(range(4), cpu(greedy)) if isinstance(one, Failed)]
    assert (lost.item, lost.error.reason) == (1, DropReason.OUT_OF_MEMORY)


def test_device_without_memory_halves_batches_of_one_run() -> None:
    calls: list[int] = []

    def forward(asked: Sequence[int], _: Sequence[Any]) -> Sequence[Any]:
        calls.append(len(asked))
        if len(asked) > 2 or 3 in asked:
            raise RuntimeError("CUDA out of memory")
        return asked

    timers = Stages()
    found = list(results(range(10), device(forward), timers=timers))
    assert [one.item for one in found if isinstance(one, Failed)] == [3]
    assert calls == [4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1][: len(calls)]
    before = len(calls)
    list(results(range(4, 8), device(forward)))
    assert calls[before:] == [4, 2, 2], "another run begins with whole batches"
    assert timers.snapshot().stages["device"].halvings == timers.take().stages["device"].halvings == 2
    assert timers.snapshot().stages["device"].halvings == 0


@pytest.mark.parametrize("place", ["cpu", "prepare", "device", "ahead", "source", "ask", "answer"])
def test_any_other_error_is_raised_and_ends_all_threads(place: str) -> None:
    def broken(item: int) -> Any:
        if item == 7:
            raise ZeroDivisionError("a defect")
        return Prepared(None, item)

    def source() -> Iterator[int]:
        for item in itertools.count():
            if place == "source" and item == 7:
                raise ZeroDivisionError("a defect")
            yield item

    def forward(asked: Sequence[int], _: Sequence[Any]) -> Sequence[Any]:
        if place == "device":
            broken(max(asked))
        return asked

    stages: dict[str, Stage[int]] = {
        "cpu": cpu(broken),
        "prepare": device(answers, prepare=broken),
        "ahead": AheadStage(name="ahead", ask=same, answer=keep, function=broken, limit=5),
        "ask": cpu(same, ask=lambda item: broken(item) and item),
        "answer": CpuStage(name="cpu", ask=same, answer=lambda item, _: broken(item) and item, function=same),
    }
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="a defect"):
        for _ in results(source(), cpu(same, "first"), stages.get(place, cpu(same)), device(forward, "last", 1)):
            pass
    assert no_more_threads(before)


def test_stopping_early_ends_all_threads() -> None:
    before = threading.active_count()
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.set()

    taken = source()
    found = results(
        taken,
        cpu(lambda _: time.sleep(0.001)),
        AheadStage(name="ahead", ask=same, answer=keep, function=lambda _: time.sleep(0.01), limit=20),
        device(answers),
    )
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    found.close()  # type: ignore[attr-defined] # a generator
    taken.close()
    assert closed.is_set()
    assert no_more_threads(before)


def test_a_slow_consumer_holds_the_source_back() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for item in itertools.count():
            taken.append(item)
            yield item

    lanes, span, size = 2, 8, 4
    found = results(source(), device(answers, size=size), lanes=lanes, span=span)
    for given_out in range(1, 60):
        next(found)
        assert len(taken) - given_out <= span + 2 * size + 2 * lanes
    found.close()  # type: ignore[attr-defined] # a generator


def test_heavy_items_hold_the_source_back_earlier() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for item in itertools.count():
            taken.append(item)
            yield item

    chain = (device(answers),)
    with closing(pool_of(chain, 2, "threads")) as pool:
        found = run(source(), chain, pool, Stages(), bounds=Bounds(span=32, span_bytes=100), weight=lambda _: 40)
        for given_out in range(1, 30):
            next(found)
            assert len(taken) - given_out <= 3
        found.close()


def test_only_a_few_batches_are_prepared_ahead() -> None:
    held = most = 0
    lock = threading.Lock()

    def prepare(item: int) -> Prepared:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return Prepared(None, item)

    def forward(asked: Sequence[int], _: Sequence[Any]) -> Sequence[Any]:
        nonlocal held
        time.sleep(0.005)
        with lock:
            held -= len(asked)
        return asked

    # The stage before lets all of a long span of items in at once.
    wide = device(answers, "wide", 64)
    list(results(range(200), wide, device(forward, "narrow", 2, prepare), lanes=4, span=4))
    assert most <= 4 + 2 * 2 + 2, "a span, two batches, and the one on the device"


def test_the_latest_stage_comes_first() -> None:
    seen: list[tuple[str, int]] = []
    gate = threading.Event()

    def noted(name: str) -> Callable[[Sequence[int], Sequence[Any]], Sequence[Any]]:
        def forward(asked: Sequence[int], _: Sequence[Any]) -> Sequence[Any]:
            assert gate.wait(WAIT_S)
            seen.append((name, asked[0]))
            return asked

        return forward

    def source() -> Iterator[int]:
        yield from range(4)
        gate.set()  # all items are there before the device ends its first batch

    list(results(source(), device(noted("first"), "first", 1), device(noted("second"), "second", 1)))
    assert seen == [(name, item) for item in range(4) for name in ("first", "second")]


def test_requests_run_ahead_of_the_lanes_up_to_their_limit() -> None:
    together = threading.Barrier(6)
    under_way = most = 0
    lock = threading.Lock()

    def ask(item: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        if item < 6:
            together.wait(WAIT_S)
        with lock:
            under_way -= 1

    chain: tuple[Stage[int], ...] = (AheadStage(name="ahead", ask=same, answer=keep, function=ask, limit=6),)
    assert list(results(range(40), *chain, lanes=1)) == list(range(40))
    assert most == 6


def test_work_is_counted_by_stage() -> None:
    timers = Stages()
    stage = device(answers, "device", 2, lambda item: Prepared(None, item))
    list(results(range(5), cpu(same), stage, lanes=2, timers=timers))
    found = timers.snapshot().stages
    assert {name: (work.items, work.lanes, work.on_device) for name, work in found.items()} == {
        "cpu": (5, 2, False),
        "prepare device": (5, 2, False),
        "device": (5, 1, True),
    }


def test_nothing_comes_of_nothing() -> None:
    assert list(results([], cpu(same), device(answers))) == []
