"""Signals that end a command: Ctrl-C, SIGTERM, SIGHUP. Owns their names, and how each ends a command.

While a command works, a signal raises an exception, so that finished work is kept. Before and after that, it ends the
process at once, which is why this module imports so little. Ignored signals, such as Ctrl-C in background jobs, stay
ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
if sys.platform != "win32":
    WORDS[signal.SIGHUP] = "hung up"
AFTER_SIGNALS = 128


def leave_at_once() -> None:
    """Make every signal end the process at once, with one line."""
    _install(_leave)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    word = WORDS[signal.Signals(number)]
    lines = [(2, f"{word}\n")]
    if "--json" in sys.argv:
        lines.append((1, f'{{"error": "{word}"}}\n'))
    for descriptor, line in lines:
        with suppress(OSError):
            os.write(descriptor, line.encode())
    os._exit(AFTER_SIGNALS + number)


class Stopped(KeyboardInterrupt):
    """Raised by a signal. Not KeyboardInterrupt itself: Python would end by SIGINT if that passed through ``exec``."""


class Stop:
    """Context manager that catches signals while a command works, and remembers the first one.

    A library may swallow the KeyboardInterrupt or replace it by another error, and threads never see it, so progress
    reports check :attr:`by`.

    Attributes:
        by: the signal; None while none came.
        kept: what a signal leaves, and how to resume, for the message.

    """

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self.kept = ""
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        self._former = _install(self._hear)
        return self

    def __exit__(self, *exception: object) -> None:
        for one, handler in self._former.items():
            signal.signal(one, handler)

    def _hear(self, number: int, _: FrameType | None) -> NoReturn:
        self.by = self.by or signal.Signals(number)
        raise Stopped


def _install(handler: Any) -> dict[signal.Signals, Any]:
    """Install a handler for all signals that are not ignored; return the former handlers. Does nothing in threads."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [one for one in WORDS if signal.getsignal(one) is not signal.SIG_IGN]
    return {one: signal.signal(one, handler) for one in heard}
