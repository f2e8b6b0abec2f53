"""The engine of a single worker: this process. Owns nothing but the loop."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

from datasetkit.runtime.engines.protocol import Died, Do, Done, Seat, Task, Work


class Here:
    """Does tasks one after the other in this process.

    Objects from Python can be used, which other processes cannot be given. A task that ends its worker ends this
    process.

    Args:
        seat: what the worker may use.

    """

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._do: Do | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._do = None

    def start(self, work: Work) -> Any:
        """Prepare this process; see :class:`~datasetkit.runtime.engines.protocol.Engine`."""
        hello, self._do = work.start(self._seat)
        return hello

    def run(self, next_task: Callable[[], Task | None], on_tell: Callable[[Task, Any], None]) -> Iterator[Done | Died]:
        """Do tasks; see :class:`~datasetkit.runtime.engines.protocol.Engine`."""
        if self._do is None:
            raise RuntimeError("start the engine first")
        with _frozen_objects():
            while (task := next_task()) is not None:
                yield Done(task, self._do(task.payload, partial(on_tell, task)))


@contextmanager
def _frozen_objects() -> Iterator[None]:
    """Let garbage collections skip what exists already, which is far more than what tasks create."""
    if gc.get_freeze_count():  # by the caller, who decides when that ends
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
