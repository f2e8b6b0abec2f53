"""The command line in processes of its own. Owns how tests start it, and that Ctrl-C reaches it.

A shell has its background jobs ignore SIGINT, and everything that such a job starts inherits that, tests among them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from tests.conftest import REPOSITORY

_PROGRAM = """
import signal
from datasetkit.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def command(*arguments: object) -> list[str]:
    """What runs ``datasetkit`` with these arguments."""
    return [sys.executable, "-c", _PROGRAM, *map(str, arguments)]


def output_of(program: str, *arguments: object) -> str:
    """Run a program of the tests on one thread, which must succeed; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", program, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``datasetkit`` on one thread; its standard error is text to be read, its output is thrown away."""
    return subprocess.Popen(
        command(*arguments),
        env={**(os.environ if env is None else env), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupt(process: subprocess.Popen[str], is_begun: Callable[[], object]) -> None:
    """Press Ctrl-C once something is there; the command ends at once, and its last line says how to go on."""
    deadline = time.monotonic() + 120
    while not is_begun():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("interrupted; finished parts are kept. Run the same command again")
    assert "Traceback" not in errors
