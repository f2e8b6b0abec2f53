"""The user's own files may have the names of our folders: everything imports as ``datasetkit.*``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

IMPORT_ALL = "import datasetkit; print([getattr(datasetkit, name) for name in datasetkit.__all__])"


@pytest.mark.slow
def test_files_named_as_our_folders_are_not_imported(tmp_path: Path) -> None:
    for name in ("annotation.py", "cards.py", "export.py", "hi_scoring.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the user was imported')\n")
    (tmp_path / "script.py").write_text(IMPORT_ALL)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
