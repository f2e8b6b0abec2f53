"""Many runs of the command line at the cost of one import. Owns the connection to a fork server.

A command runs in a separate, forked process, which starts in some hundredths of a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.conftest import REPOSITORY

TIMEOUT_S = 120  # many times what the slowest takes, on cores that are busy


@dataclass(frozen=True)
class Ended:
    """Result of a command: exit code, negative for a signal, output, and duration."""

    returncode: int
    is_hung: bool
    seconds: float
    stdout: str = field(repr=False)
    stderr: str


class ForkServer:
    """A process that has imported everything, and forks a child for each command; used as a context."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        paths = [str(REPOSITORY), str(REPOSITORY / "src"), *filter(None, [environment.get("PYTHONPATH")])]
        one_thread = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._environment = {**environment, **one_thread, "PYTHONPATH": os.pathsep.join(paths)}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.forks.server"],
                    cwd=REPOSITORY,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(self._process.stdin.close)  # type: ignore[union-attr] # it is a pipe
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self, arguments: Sequence[object], cwd: Path, output: Path, **more: Any) -> Ended:
        """Run a command.

        Args:
            arguments: arguments of ``datasetkit``.
            cwd: working directory.
            output: folder for the files ``stdout`` and ``stderr``, and ``cache``.
            **more: see :func:`tests.forks.server.run`.

        """
        request = {"arguments": [*map(str, arguments)], "cwd": str(cwd), "output": str(output), "timeout_s": TIMEOUT_S}
        self._process.stdin.write(json.dumps(request | more) + "\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"the fork server ended with {self._process.wait()}")
        stdout, stderr = (_read(output / name) for name in ("stdout", "stderr"))
        return Ended(**json.loads(line), stdout=stdout, stderr=stderr)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
