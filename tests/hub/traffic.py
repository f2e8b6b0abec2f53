"""Traffic of the test Hub: requests by kind, bytes by object and part, and complete uploads of objects."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Request:
    """A request. `status` is None unless it was answered."""

    kind: str
    method: str
    url: str
    user: str | None
    status: int | None = None
    received: int = 0
    sent: int = 0


@dataclass(slots=True)
class Traffic:
    """All requests so far. `received` has bytes by object's sha256 and part's number, from 1; all attempts count."""

    requests: list[Request] = field(default_factory=list)
    received: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    completed: Counter[str] = field(default_factory=Counter)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, request: Request) -> Request:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        return request

    def receive(self, sha256: str, part: int, length: int) -> None:
        with self.changed:
            self.received[sha256][part] += length

    def complete(self, sha256: str) -> None:
        with self.changed:
            self.completed[sha256] += 1
            self.changed.notify_all()

    def count(self, kind: str) -> int:
        with self.changed:
            return self._count(kind)

    def counts(self) -> Counter[str]:
        """Return the number of requests by kind."""
        with self.changed:
            return Counter(request.kind for request in self.requests)

    def bytes_received(self) -> int:
        """Return the bytes of large objects, over all attempts."""
        with self.changed:
            return sum(sum(parts.values()) for parts in self.received.values())

    def wait_for(self, kind: str, times: int = 1, timeout_s: float = 30.0) -> bool:
        """Wait until this many requests of a kind have started; return False after the timeout."""
        with self.changed:
            return self.changed.wait_for(lambda: self._count(kind) >= times, timeout_s)

    def clear(self) -> None:
        with self.changed:
            self.requests.clear()
            self.received.clear()
            self.completed.clear()

    def _count(self, kind: str) -> int:
        return sum(request.kind == kind for request in self.requests)
