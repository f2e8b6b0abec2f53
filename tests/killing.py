"""Processes that end at a chosen moment. Owns how a test forks what it ends, and which moments there are."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

TOUCHES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir"}


def forked(run: Callable[[], object], before: Callable[[], object] = lambda: None) -> int:
    """Run in a child process; return its exit status, negative for a signal."""
    # Garbage that a child looks for is its own: to look through all that torch made would copy every page of it.
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        # In the background, a shell has its jobs ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()
        try:
            run()
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end_at(moment: int, how: signal.Signals, out: Path) -> None:
    """Send this process a signal at its n-th touch of OUT or of any file that is moved or removed."""
    touched = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal touched
        if event not in TOUCHES or (event in {"open", "os.scandir"} and not str(arguments[0]).startswith(str(out))):
            return
        touched += 1
        if touched == moment:
            os.kill(os.getpid(), how)

    sys.addaudithook(watch)
