"""Threads on one machine. Owns those that read ahead of the writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD_PER_WORKER = 4


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result]:
    """Apply ``function`` to the items in threads; yield the results in the order of the items.

    Only a few results per worker are held at a time, so memory does not grow with the number of items. If the consumer
    stops early, or an item raises, items that were not started are cancelled. One worker is the calling thread itself,
    as a second thread would mostly wait for it.
    """
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers * _AHEAD_PER_WORKER:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
