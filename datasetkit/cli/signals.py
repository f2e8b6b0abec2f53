"""Signals that end a command: Ctrl-C, SIGTERM, SIGHUP. Owns what they are called, and when they end it how.

While a command works they are an exception, which leaves what is finished. Before that, and once all is done, they end
the process at once, which is why this module imports so little. One that is ignored, as Ctrl-C is in jobs in the
background, stays ignored.
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
    """Have every signal end the process at once, in one line."""
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
    """What a signal raises. Not KeyboardInterrupt itself: Python ends by SIGINT where that went through ``exec``."""


class Stop:
    """A signal that came while a command worked; a context manager that listens meanwhile.

    The code of another library may lose the KeyboardInterrupt or raise another error for it, and threads see none at
    all: whoever shows progress asks :attr:`by`.

    Attributes:
        by: the signal; None while none came.
        kept: what an end by a signal leaves, and how to go on.

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
    """Install a handler for all signals that are not ignored; return those before. Threads cannot do that."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [one for one in WORDS if signal.getsignal(one) is not signal.SIG_IGN]
    return {one: signal.signal(one, handler) for one in heard}
