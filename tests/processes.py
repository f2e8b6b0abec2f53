"""The command line in processes of its own. Owns how tests start it, and that Ctrl-C reaches it.

A shell has its background jobs ignore SIGINT, and everything that such a job starts inherits that, tests among them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

_PROGRAM = """
import signal
from datasetkit.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def command(*arguments: object) -> list[str]:
    """What runs ``datasetkit`` with these arguments."""
    return [sys.executable, "-c", _PROGRAM, *map(str, arguments)]


def start(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``datasetkit`` on one thread; its standard error is text to be read, its output is thrown away."""
    return subprocess.Popen(
        command(*arguments),
        env={**(os.environ if env is None else env), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
