"""Memory that runs out above a number of items: nothing is lost, and order stays."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.runtime.batches import Batches, begin_part
from datasetkit.runtime.parts import Guarded
from datasetkit.runtime.registry import Origin


class Small:
    """Squares numbers, in a memory that holds only so many of them, and none of the greedy ones."""

    def __init__(self, room: int, greedy: frozenset[int] = frozenset()) -> None:
        self.room = room
        self.greedy = greedy
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int | UnusableError]:
        self.sizes.append(len(items))
        if len(items) > self.room or self.greedy & {*items}:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [item**2 for item in items]


@given(st.integers(0, 12), st.integers(1, 12), st.integers(1, 6), st.frozensets(st.integers(0, 11), max_size=2))
@pytest.mark.slow
def test_no_item_is_lost_and_order_stays(count: int, size: int, room: int, greedy: frozenset[int]) -> None:
    batches: Batches[int, int] = Batches(Small(room, greedy), size)
    results = batches.run(range(count))
    assert len(results) == count
    for item, result in enumerate(results):
        if item in greedy:
            assert isinstance(result, UnusableError)
            assert result.reason is DropReason.OUT_OF_MEMORY
        else:
            assert result == item**2


def test_the_batch_stays_halved_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    function = Small(room=3)
    batches: Batches[int, int] = Batches(function, 8, "crops")
    with caplog.at_level("INFO"):
        batches.run(range(10))
        batches.run(range(4))
        assert (batches.size, batches.halvings) == (2, 2)
        assert function.sizes == [8, 4, *[2] * 5, 2, 2]
        assert caplog.messages == [
            "memory ran out with 8 crops at once; now 4 at once",
            "memory ran out with 4 crops at once; now 2 at once",
        ]


class Forgetful:
    """Counts the parts that it learned of."""

    parts = 0

    def begin_part(self) -> None:
        self.parts += 1


def test_models_learn_of_a_part_if_they_want_to() -> None:
    own, plugin = Forgetful(), Forgetful()
    origin = Origin("segmenter", "a", "a:A", None, None, None)
    begin_part(None, own, Guarded(plugin, origin, {}), Guarded(Small(1), origin, {}))
    assert (own.parts, plugin.parts) == (1, 1)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), MemoryError()])
def test_an_item_too_large_by_itself_does_not_stop_the_others(error: Exception) -> None:
    def function(items: Sequence[str]) -> list[str]:
        if "huge" in items:
            raise error
        return list(items)

    batches: Batches[str, str] = Batches(function, 4)
    first, second, third = batches.run(["a", "huge", "b"])
    assert (first, third) == ("a", "b")
    assert isinstance(second, UnusableError)
    assert second.reason is DropReason.OUT_OF_MEMORY


def test_other_errors_pass_through() -> None:
    def function(items: Sequence[int]) -> list[int]:
        raise RuntimeError("shapes differ")

    batches: Batches[int, int] = Batches(function, 4)
    with pytest.raises(RuntimeError, match="shapes differ"):
        batches.run([1, 2])
    assert batches.size == 4


def test_tensors_of_a_failed_attempt_are_gone_before_the_next() -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive_at_next: list[bool] = []

    def function(items: Sequence[int]) -> list[int]:
        alive_at_next.extend(tensor() is not None for tensor in held)
        activations = torch.zeros(8)
        held.append(weakref.ref(activations))
        if len(items) > 1:
            raise torch.OutOfMemoryError("no memory")
        return list(items)

    gc.disable()
    try:
        Batches[int, int](function, 4).run([1])
        Batches[int, int](function, 4).run([1, 2])
    finally:
        gc.enable()
    assert alive_at_next
    assert not any(alive_at_next)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_something(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Batches(Small(1), size)


@pytest.mark.parametrize(
    "words", ["DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", "MPS backend out of memory"]
)
def test_devices_that_run_out_of_memory_in_words_only(words: str) -> None:
    def one_by_one(items: Sequence[int]) -> list[int]:
        if len(items) > 1:
            raise RuntimeError(words)
        return list(items)

    batches: Batches[int, int] = Batches(one_by_one, 4)
    assert batches.run([1, 2, 3]) == [1, 2, 3]
    assert batches.size == 1


def test_other_errors_of_torch_are_no_shortage_of_memory() -> None:
    with pytest.raises(RuntimeError, match="negative dimension"):
        Batches(lambda _: torch.empty(-1), 2).run([1, 2])
