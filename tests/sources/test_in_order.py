"""One stream shared by threads: every row is right, whatever the order of requests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.runtime.threads import map_in_order
from datasetkit.sources.in_order import InOrder

ROWS = 700


class Stream:
    """Rows that are their numbers, and a count of what was read."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.read = 0

    def open_at(self, number: int) -> Iterator[int]:
        self.opened.append(number)
        for row in range(number, ROWS):
            self.read += 1
            yield row


@given(st.lists(st.integers(0, ROWS - 1), max_size=40))
def test_every_order_yields_the_right_rows(numbers: list[int]) -> None:
    rows = InOrder(Stream().open_at)
    assert [rows.take(number) for number in numbers] == numbers


def test_threads_read_each_row_once() -> None:
    stream = Stream()
    rows = InOrder(stream.open_at)
    assert list(map_in_order(rows.take, range(100, ROWS), 8)) == list(range(100, ROWS))
    assert stream.read < ROWS, "a thread may overtake at the start, and no more"


def test_gap_is_skipped_and_few_rows_are_held() -> None:
    stream = Stream()
    rows = InOrder(stream.open_at)
    assert [rows.take(number) for number in (0, 600, 601)] == [0, 600, 601]
    assert (stream.opened, stream.read) == ([0, 600], 3)
    rows = InOrder(Stream().open_at)
    for number in itertools.chain(range(0, ROWS, 2)):
        rows.take(number)
    assert len(rows._waiting) <= 256


def test_reading_resumes_after_an_error() -> None:
    rows = InOrder(Stream().open_at)
    for number in (ROWS, ROWS + 5):
        with pytest.raises(IndexError):
            rows.take(number)
    assert rows.take(ROWS - 1) == ROWS - 1

    failing = [True]

    def open_at(number: int) -> Iterator[int]:
        yield number
        if failing:
            failing.clear()
            raise OSError("once")
        yield number + 1

    rows = InOrder(open_at)
    assert rows.take(0) == 0
    with pytest.raises(OSError, match="once"):
        rows.take(1)
    assert rows.take(1) == 1
