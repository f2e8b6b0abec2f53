"""The local engine: order, bounded look-ahead, and that nothing runs on after an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import UnknownNameError
from datasetkit.options.sources import SOURCES
from datasetkit.runtime.registry import Builtin, Registry
from datasetkit.runtime.threads import map_in_order

AHEAD = 4


@given(st.lists(st.integers(), max_size=60), st.integers(1, 5))
def test_results_come_in_order(items: list[int], workers: int) -> None:
    assert list(map_in_order(lambda item: item * 2, items, workers)) == [item * 2 for item in items]


def test_a_slow_first_item_holds_nothing_out_of_order() -> None:
    others_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert others_done.wait(10)
        elif item == 3:
            others_done.set()
        return item

    assert list(map_in_order(work, range(20), 2)) == list(range(20))


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_taken_than_a_few_ahead(workers: int) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = map_in_order(lambda item: item, endless(), workers)
    for given_out in range(1, 50):
        next(results)
        assert taken <= given_out + workers * AHEAD + 1
    results.close()


def test_an_item_that_raises_ends_it_and_cancels_the_rest() -> None:
    started: list[int] = []
    go_on = threading.Event()

    def work(item: int) -> int:
        started.append(item)
        if item == 2:
            raise ZeroDivisionError
        if item > 2:
            go_on.wait(10)
        return item

    results = map_in_order(work, range(1000), 1)
    assert [next(results), next(results)] == [0, 1]
    go_on.set()
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert max(started) <= 2 + AHEAD + 1
    assert list(results) == []


def test_a_source_that_raises_ends_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    results = map_in_order(lambda item: item, broken(), 2)
    with pytest.raises(ZeroDivisionError):
        list(results)


def test_stopping_early_leaves_no_thread() -> None:
    before = threading.active_count()
    results = map_in_order(lambda item: item, range(100), 3)
    next(results)
    results.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("name", sorted({*SOURCES.names} - {"from"}))  # which opens one of several classes
def test_every_source_loads(name: str) -> None:
    source = SOURCES.load(name)
    for method in ("fingerprint", "__len__", "entries", "read", "stray_drops"):
        assert callable(getattr(source, method))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError) as caught:
        SOURCES.load("ftp")
    known = "coco, folder, from, hub, parquet, toyworld, webdataset, or a class as package.module:Class"
    assert str(caught.value) == f"no source is called 'ftp'; known: {known}"
    assert isinstance(caught.value, KeyError)


def test_a_part_is_imported_when_it_is_asked_for() -> None:
    registry = Registry("part", {"broken": Builtin("no_such_module:x"), "sqrt": Builtin("math:sqrt")})
    assert registry.names == ("broken", "sqrt")
    assert registry.load("sqrt")(4) == 2
