"""Batches are a function of the sequence: which items share one, and how long the first of them waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datasetkit.runtime.stages.gathering import Gatherer

NEVER = 10**9
# Key and weight of each item; None for an item that takes no part.
SEQUENCES = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 9)), max_size=60)


def gathered(
    sequence: list[tuple[str | None, int]], size: int, span: int, span_bytes: int
) -> list[tuple[int, list[int]]]:
    """Return the batches, each with the place of the item that completed it; the length of the sequence at its end."""
    gatherer: Gatherer[int] = Gatherer(size, span, span_bytes)
    found = []
    for place, (key, weight) in enumerate(sequence):
        batches = gatherer.skip(weight) if key is None else gatherer.add(place, key, weight)
        found += [(place, batch) for batch in batches]
    return found + [(len(sequence), batch) for batch in gatherer.rest()]


@given(SEQUENCES, st.integers(1, 5), st.integers(1, 20), st.integers(1, 60))
def test_every_item_is_in_one_batch_of_its_key(
    sequence: list[tuple[str | None, int]], size: int, span: int, span_bytes: int
) -> None:
    batches = [batch for _, batch in gathered(sequence, size, span, span_bytes)]
    assert sorted(place for batch in batches for place in batch) == [
        place for place, (key, _) in enumerate(sequence) if key is not None
    ]
    for batch in batches:
        assert 0 < len(batch) <= size
        assert batch == sorted(batch)
        assert len({sequence[place][0] for place in batch}) == 1


@given(SEQUENCES, st.integers(1, 5), st.integers(1, 20), st.integers(1, 60))
def test_a_batch_is_full_or_has_waited_as_long_as_allowed(
    sequence: list[tuple[str | None, int]], size: int, span: int, span_bytes: int
) -> None:
    for end, batch in gathered(sequence, size, span, span_bytes):
        waited = range(batch[0], min(end + 1, len(sequence)))
        weight = sum(sequence[place][1] for place in waited)
        before = weight - sequence[waited[-1]][1]
        own_span = min(span, max(size, batch[0]))
        assert len(waited) <= own_span
        assert before < span_bytes or len(waited) == 1
        if len(batch) < size and end < len(sequence):
            assert len(waited) == own_span or weight >= span_bytes


@given(SEQUENCES, st.integers(1, 5), st.integers(1, 20))
def test_batches_of_a_beginning_do_not_depend_on_the_rest(
    sequence: list[tuple[str | None, int]], size: int, span: int
) -> None:
    half = len(sequence) // 2
    whole = [batch for end, batch in gathered(sequence, size, span, NEVER) if end < half]
    assert whole == [batch for end, batch in gathered(sequence[:half], size, span, NEVER) if end < half]


def test_sizes_go_together_across_a_sequence() -> None:
    begun: list[tuple[str | None, int]] = [(None, 0)] * 9
    sequence: list[tuple[str | None, int]] = [("a", 0), ("b", 0), (None, 0), ("a", 0), ("b", 0), ("c", 0), ("a", 0)]
    assert gathered(begun + sequence, 2, NEVER, NEVER) == [(12, [9, 12]), (13, [10, 13]), (16, [14]), (16, [15])]


def test_a_rare_size_does_not_wait_longer_than_its_span() -> None:
    sequence: list[tuple[str | None, int]] = [*[(None, 0)] * 4, ("rare", 0), *[("a", 0)] * 9]
    assert gathered(sequence, 2, 4, NEVER)[:2] == [(6, [5, 6]), (7, [4])]


def test_the_first_items_wait_for_one_batch_only() -> None:
    sequence: list[tuple[str | None, int]] = [(str(place), 0) for place in range(12)]
    ends = {batch[0]: end for end, batch in gathered(sequence, 3, 5, NEVER)}
    assert [ends[place] - place + 1 for place in range(8)] == [3, 3, 3, 3, 4, 5, 5, 5]


def test_large_items_wait_for_fewer_others() -> None:
    sequence: list[tuple[str | None, int]] = [("a", 5), (None, 5), ("a", 1), ("a", 1)]
    assert gathered(sequence, 4, NEVER, 10) == [(1, [0]), (4, [2, 3])]
