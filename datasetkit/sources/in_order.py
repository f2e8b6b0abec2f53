"""Rows of a stream by their number. Owns how threads share one stream that can only be read forwards.

Threads request rows almost in order. Each row that is read on the way to a later one is kept for the thread that is
about to request it, so that nothing is read twice and only a few rows are ever held.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

# Far more than threads ever get out of order; a larger gap is skipped instead of read.
_MOST_WAITING = 256


class InOrder:
    """Rows by number, from streams that are opened when needed.

    Args:
        open_at: opens the stream at the row with that number.

    """

    def __init__(self, open_at: Callable[[int], Iterator[Any]]) -> None:
        self._open_at = open_at
        self._lock = threading.Lock()
        self._rows: Iterator[Any] | None = None
        self._next = 0
        self._waiting: dict[int, Any] = {}

    def take(self, number: int) -> Any:
        """Return one row; safe to call from several threads.

        Raises:
            IndexError: the stream ends before that row.

        """
        with self._lock:
            if number in self._waiting:
                return self._waiting.pop(number)
            if self._rows is None or not self._next <= number < self._next + _MOST_WAITING:
                self._rows, self._next = self._open_at(number), number
                self._waiting.clear()
            rows, self._rows = self._rows, None  # after an error below, the next call reopens the stream
            for row in rows:
                self._next += 1
                if self._next > number:
                    self._rows = rows
                    return row
                self._waiting[self._next - 1] = row
                if len(self._waiting) > _MOST_WAITING:
                    del self._waiting[next(iter(self._waiting))]
            raise IndexError(number)
