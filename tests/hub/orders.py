"""A fault as one request meets it: what happens before the request is carried out, in its body, and to its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.hub.faults import Fault
from tests.hub.state import State
from tests.hub.wire import Answer, Body, ConnectionDroppedError, HubError


def _drop() -> None:
    raise ConnectionDroppedError


@dataclass(frozen=True, slots=True)
class Order:
    """Return the fault, if any, of a request whose path has the parts `names`."""

    state: State
    fault: Fault | None
    names: Mapping[str, str]

    @property
    def pause(self) -> Callable[[], object] | None:
        """Apply the fault during the body of the request."""
        if self.fault is None:
            return None
        seconds = self.fault.seconds
        return {"drop": _drop, "slow": lambda: time.sleep(seconds), "call": self.fault.call}.get(self.fault.kind)

    @property
    def pause_at(self) -> int:
        return self.fault.after_bytes if self.fault else 0

    @property
    def cut_at(self) -> int | None:
        """Return after how many bytes of the response body the connection ends."""
        return self.fault.after_bytes if self.fault and self.fault.kind == "truncate" else None

    def after(self, answer: Answer) -> Answer:
        """Return the response, or its replacement."""
        if self.fault is None or self.fault.kind != "body":
            return answer
        return Answer(200, self.fault.body, {"Content-Type": "application/json"})

    @property
    def keeps_silent(self) -> bool:
        return self.fault is not None and self.fault.kind == "no answer"

    def before(self, body: Body) -> None:
        """Respond in place of the route, or let another user commit first."""
        if body.is_empty:
            body.drain()
        if self.fault is None:
            return
        if self.fault.kind == "status":
            after = self.fault.retry_after
            headers = {} if after is None else {"Retry-After": str(after)}
            raise HubError(self.fault.status, "", "a fault that the test ordered", headers)
        if self.fault.kind == "stale":
            repository = self.state.repositories[self.names["type"], self.names["id"]]
            files = {"somebody-else.txt": f"edit {len(repository.commits)}\n".encode()}
            repository.write(files, branch=self.names["revision"], title="Somebody else's edit")
