"""A page of the documentation as its reader follows it: one folder, one interpreter, one shell.

Owns how a line is run: commands of datasetkit within this process, all else by bash, where `datasetkit` and `python`
are those of this environment.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from tests.docs.pages import Block, commands

_SHELL = re.compile(r"[|<>;&$`*]")


class Session:
    """One page that is followed from its first block to its last.

    Args:
        folder: an empty one, which the page's paths begin in.
        patch: undoes what the page changes.

    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._printed = ""
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        programs = folder / ".programs"
        programs.mkdir()
        for name, words in (("datasetkit", "-m datasetkit"), ("python", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
            (programs / name).chmod(0o755)
        patch.setenv("PATH", str(programs), prepend=os.pathsep)
        patch.setenv("PYTHONPATH", os.pathsep.join(one for one in sys.path if one))

    def write(self, block: Block) -> None:
        """Write the file that a block is the text of."""
        if block.is_run and block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.run_text, encoding="utf-8")

    def follow(self, block: Block) -> None:
        """Run a block, or compare the lines that it shows with those that were printed."""
        if block.language == "text" and block.reason is None:
            for line in block.text.splitlines():
                pattern = re.escape(line).replace(re.escape("..."), ".*")
                assert any(re.fullmatch(pattern, one) for one in self._printed.splitlines()), (
                    f"{where(block)}: {line}\nwas printed as:\n{self._printed}"
                )
        elif not block.is_run or block.file is not None:
            return
        elif block.language == "python":
            code = "\n" * (block.line - 1) + block.run_text
            exec(compile(code, block.page, "exec"), self._names)
        else:
            self._printed = ""
            for command, code in commands(block):
                found, output = self._run(command)
                self._printed += output
                assert found == code, f"{where(block)}: {command}\nended with {found}:\n{output}"

    def _run(self, command: str) -> tuple[int, str]:
        words = shlex.split(command)
        if words[0] == "cd":
            self._patch.chdir(Path(*words[1:]))
            return 0, ""
        if words[0] == "export":
            for name, _, value in (word.partition("=") for word in words[1:]):
                self._patch.setenv(name, os.path.expandvars(value))
            return 0, ""
        if words[0] == "datasetkit" and not _SHELL.search(command):
            result = CliRunner().invoke(app, words[1:])
            return result.exit_code, result.output
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr


def where(block: Block) -> str:
    """Page and line of a block."""
    return f"{block.page}:{block.line}"
