"""Filters that end the worker that runs them; worker processes import them by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from datasetkit.core.record import Record
from datasetkit.options.base import PartOptions


class FatalOptions(PartOptions):
    """Which records kill, and how often."""

    records: tuple[str, ...] = ()
    """Ids of the records that kill."""
    lives: str = ""
    """File with a byte for each time that they kill; without it they always do."""


class Fatal:
    """Keeps every record, but ends the process at some."""

    Options = FatalOptions

    def __init__(self, options: FatalOptions) -> None:
        self._options = options

    def refusal(self, record: Record) -> str | None:
        if record.record_id in self._options.records and self._has_lives():
            os.kill(os.getpid(), signal.SIGKILL)
        return None

    def _has_lives(self) -> bool:
        if not self._options.lives:
            return True
        path = Path(self._options.lives)
        left = path.read_bytes()
        path.write_bytes(left[1:])
        return bool(left)
