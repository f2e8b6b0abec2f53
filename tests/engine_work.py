"""Work for tests of engines, which worker processes import."""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasetkit.core.errors import SourceFailedError
from datasetkit.runtime.engines.protocol import Do, Seat, Tell


@dataclass(frozen=True)
class Squares:
    """Squares numbers; other payloads are commands: ("kill", path), ("raise", text), ("sleep", seconds), ...

    ("kill", path) kills the worker the first times, as often as the file has bytes. ("wait", path) ends a moment after
    the file exists.
    """

    def start(self, seat: Seat) -> tuple[Any, Do]:
        return {"pid": os.getpid(), "seat": seat.number}, self._do

    def _do(self, payload: Any, tell: Tell) -> Any:
        if isinstance(payload, int):
            tell(payload)
            return os.getpid(), payload**2
        command, value = payload
        if command == "kill":
            left = Path(value).read_bytes()
            if left:
                Path(value).write_bytes(left[1:])
                tell("about to die")
                os.kill(os.getpid(), signal.SIGKILL)
            return os.getpid(), "survived"
        if command == "raise":
            raise SourceFailedError(value)
        if command == "unpicklable":
            raise UnpicklableError
        if command == "log":
            logging.getLogger("datasetkit.test").warning(value)
        if command == "count frozen objects":
            return os.getpid(), gc.get_freeze_count()
        if command == "sleep":
            time.sleep(value)
        if command == "wait":
            while not Path(value).exists():
                time.sleep(0.01)
            time.sleep(0.3)
        if command == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        return os.getpid(), None


class UnpicklableError(Exception):
    """An error that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("a lambda inside")
        self.inside = lambda: None


@dataclass(frozen=True)
class DiesAtStart:
    """Kills every worker while it starts."""

    def start(self, seat: Seat) -> tuple[Any, Do]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class RaisesAtStart:
    """Raises in every worker while it starts."""

    def start(self, seat: Seat) -> tuple[Any, Do]:
        raise SourceFailedError("no source")


@dataclass(frozen=True)
class Report:
    """What a worker finds where it runs."""

    seat: Seat
    folder: str
    variables: dict[str, str]


@dataclass(frozen=True)
class Reports:
    """Reports where it runs when it starts, and does nothing else."""

    def start(self, seat: Seat) -> tuple[Any, Do]:
        return Report(seat, str(Path.cwd()), dict(os.environ)), print
