"""The Python of the README, run unchanged in a folder with files named like ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow


def lines_of(heading: str) -> str:
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block[1]


def test_what_readme_does_in_python(hub: HubServer, tmp_path: Path) -> None:
    for name in ("export.py", "annotation.py", "hi_scoring.py", "cards.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the user was imported')\n")
    script = lines_of("In Python").replace("count=60", "count=6, size_px=64").replace("limit=20", "limit=2")
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = ("out/scenes.html", "scores/toyworld-vlm--scenes/report.html")
    for path in ("out/scenes/README.md", "out/overlay.png", *pages):
        assert (tmp_path / path).stat().st_size > 0
    assert hub.repository("user/scenes").private
