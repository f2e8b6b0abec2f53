"""An engine whose workers are killed while they work; recipes of tests name it as tests.deadly:Deadly."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from datasetkit.runtime.engines.processes import Processes
from datasetkit.runtime.engines.protocol import Do, Seat, Tell, Work

ENGINE = "tests.deadly:Deadly"
_TASK, _LIVES = "DATASETKIT_TEST_DEADLY_TASK", "DATASETKIT_TEST_DEADLY_LIVES"


def deaths(monkeypatch: pytest.MonkeyPatch, lives: Path, task: str, count: int) -> Path:
    """Have workers die ``count`` times on tasks that name ``task``; return a file with a byte per death to come."""
    lives.write_bytes(b"x" * count)
    monkeypatch.setenv(_TASK, task)
    monkeypatch.setenv(_LIVES, str(lives))
    return lives


class Deadly(Processes):
    """Processes that die by SIGKILL when they report progress of some task."""

    def __init__(self, seats: Sequence[Seat], address: str | None = None) -> None:
        super().__init__(seats)

    def start(self, work: Work) -> Any:
        return super().start(_DeadlyWork(work, os.environ[_TASK], Path(os.environ[_LIVES])))


@dataclass(frozen=True)
class _DeadlyWork:
    work: Work
    task: str
    lives: Path

    def start(self, seat: Seat) -> tuple[Any, Do]:
        hello, do = self.work.start(seat)
        return hello, partial(self._do, do)

    def _do(self, do: Do, payload: Any, tell: Tell) -> Any:
        return do(payload, self._die if self.task in repr(payload) else tell)

    def _die(self, _: object) -> None:
        if left := self.lives.read_bytes():
            self.lives.write_bytes(left[1:])
            os.kill(os.getpid(), signal.SIGKILL)
