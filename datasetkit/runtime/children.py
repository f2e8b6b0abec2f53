"""Processes that serve this one. Owns how they are started, and how they ended, in words."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_GRACE_S = 5.0
# Libraries that would otherwise start a thread per processor in every process.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def start_child(
    module: str, descriptor: int, *, threads: int, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``python -m MODULE DESCRIPTOR``.

    The main module of this process is not run again in it, so that a script needs no ``if __name__ == "__main__"``.

    Args:
        module: what is run.
        descriptor: file descriptor that it inherits.
        threads: number of threads of numeric libraries.
        variables: of its environment, in addition to those of this process.

    """
    with _without_interrupts():
        return subprocess.Popen(
            [sys.executable, "-m", module, str(descriptor)],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=2,  # stdout is for the result of a command
            env={**os.environ, **thread_limits(threads), **(variables or {}), "PYTHONPATH": module_paths()},
        )


def module_paths() -> str:
    """Return ``PYTHONPATH`` for workers on this machine: an import must not depend on their current folder."""
    return os.pathsep.join(dict.fromkeys(path or str(Path.cwd()) for path in sys.path))


def thread_limits(threads: int) -> dict[str, str]:
    """Return the variables that limit the threads of libraries, as they are set here, or else to ``threads``."""
    return {name: os.environ.get(name, str(threads)) for name in THREAD_VARIABLES}


def how_ended(process: subprocess.Popen[bytes]) -> str:
    """Wait until a process has ended, and end it if it does not; return how it ended, in words."""
    try:
        code = process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start a process that never receives Ctrl-C, which the terminal sends to all processes of a command."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
