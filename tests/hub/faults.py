"""Faults ordered by tests: the affected requests, and their effects."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["status", "drop", "slow", "call", "stale", "truncate", "no answer", "body"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that some requests meet.

    Attributes:
        match: A regular expression, searched in "KIND METHOD PATH", such as "lfs-part PUT /lfs/...". The kinds are
            those of `tests.hub.routes`.
        kind: What happens.
            "status": nothing is done, the answer is `status`, with Retry-After if `retry_after` is given.
            "drop": the connection is cut when `after_bytes` of the request's body have come.
            "slow": the server sleeps `seconds` when `after_bytes` of the request's body have come.
            "call": the same, with `call` in place of sleep.
            "stale": somebody else commits to the same branch first.
            "truncate": the answer's body ends after `after_bytes`, and the connection with it.
            "body": the request is carried out, and the answer is 200 with `body`.
            "no answer": the request is carried out, and the connection is cut in place of an answer.
        times: How many requests meet it.
        skip: How many requests that match pass before.
        after_bytes: See `kind`.
        status: See `kind`.
        retry_after: Seconds.
        seconds: See `kind`.
        call: See `kind`.
        body: See `kind`.
    """

    match: str
    kind: Kind
    times: int = 1
    skip: int = 0
    after_bytes: int = 0
    status: int = 500
    retry_after: int | None = None
    seconds: float = 0.0
    call: Callable[[], object] | None = None
    body: bytes = b""


class Faults:
    """The ordered faults, and how often each occurred."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[tuple[Fault, list[int]]] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._orders.extend((fault, [0]) for fault in faults)

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def met(self, fault: Fault) -> int:
        """Return how many requests met a fault."""
        with self._lock:
            return sum(max(0, seen[0] - fault.skip) for order, seen in self._orders if order == fault)

    def meet(self, request: str) -> Fault | None:
        """Return the first fault that is due for a request, written "KIND METHOD PATH"."""
        with self._lock:
            for fault, seen in self._orders:
                if seen[0] < fault.skip + fault.times and re.search(fault.match, request):
                    seen[0] += 1
                    if seen[0] > fault.skip:
                        return fault
        return None
