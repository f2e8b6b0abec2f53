"""What ``datasetkit doctor`` prints, and what it says of packages that do not work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.options.models import CAPTIONERS, DETECTORS, GROUNDERS, PACKAGES, SEGMENTERS

BACKENDS = [name for registry in (CAPTIONERS, DETECTORS, SEGMENTERS, GROUNDERS) for name in registry.names]


def rows(shown: str) -> dict[str, str]:
    """What is said of each part, with its command behind it."""
    said: dict[str, str] = {}
    last = ""
    for line in shown.splitlines():
        if line.startswith(" "):
            said[last] += " " + line.strip()
        else:
            last, *words = line.removeprefix("shipped model").split()[0 if line.startswith("shipped") else 1 :]
            said[last] = " ".join(words)
    return said


def test_every_backend_and_shipped_model_has_a_row() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    said = rows(result.stdout)
    for name in ("toyworld:detector", "toyworld:segmenter", "toyworld:vlm"):
        assert said[name] == "works"
    for name in BACKENDS:
        assert said[name] == "works" or "pip install" in said[name]
        if not PACKAGES.get(name):
            assert said[name] == "works"


@pytest.fixture
def torchvision(tmp_path: Path) -> Path:
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms\\ndoes not exist')\n")
    return tmp_path


@pytest.mark.slow
def test_a_broken_torchvision_is_named_with_its_mending(torchvision: Path) -> None:
    """It takes the required models with it, so that the exit code says so."""
    program = f"import sys; sys.path.insert(0, {str(torchvision)!r}); from datasetkit.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "doctor"], capture_output=True, text=True, check=False)
    said = rows(done.stdout)
    fault = "RuntimeError: operator torchvision::nms does not exist"
    for name in ("sam2", "sam3"):
        assert said[name].startswith(f"{fault} run: pip install --force-reinstall torchvision torch==")
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if any(said[name] != "works" for name in said if name.startswith("toyworld")) else 0)
