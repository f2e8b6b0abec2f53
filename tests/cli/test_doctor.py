"""Output of ``datasetkit doctor``, also for packages that do not work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.options.models import CAPTIONERS, DETECTORS, GROUNDERS, SEGMENTERS

BACKENDS = {
    name: entry.packages
    for registry in (CAPTIONERS, DETECTORS, SEGMENTERS, GROUNDERS)
    for name, entry in registry.builtin.items()
    if name != "given"
}


def rows(shown: str) -> dict[str, str]:
    """Return the report on each part, with its command."""
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
    for name, packages in BACKENDS.items():
        assert said[name] == "works" or (packages and "pip install" in said[name]), name


def test_plug_ins_are_listed_with_their_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_lab.py").write_text("class Mine:\n    pass\n")
    info = tmp_path / "my_lab-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(
        "[datasetkit.detectors]\nmine = my_lab:Mine\n[datasetkit.scores]\nnew = my_lab:Mine\n"
        "[datasetkit.formats]\nodd = my_lab:Odd\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    found = {item["name"]: item for item in json.loads(result.stdout)["findings"]}
    assert (found["mine"]["kind"], found["mine"]["fault"]) == ("detector", None)
    assert (found["new"]["kind"], found["new"]["fault"]) == ("score", None)
    assert found["mine"]["distribution"] == "my-lab 1.5"
    assert found["odd"]["fault"].startswith("format odd (my_lab:Odd) of my-lab 1.5 cannot be imported: AttributeError")
    assert "mine                 works (my-lab 1.5)" in CliRunner().invoke(app, ["doctor"]).stdout


@pytest.fixture
def torchvision(tmp_path: Path) -> Path:
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms\\ndoes not exist')\n")
    return tmp_path


@pytest.mark.slow
def test_a_broken_torchvision_is_named_with_its_mending(torchvision: Path) -> None:
    """Required models fail with it, which the exit code shows."""
    program = f"import sys; sys.path.insert(0, {str(torchvision)!r}); from datasetkit.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "doctor"], capture_output=True, text=True, check=False)
    said = rows(done.stdout)
    fault = "RuntimeError: operator torchvision::nms does not exist"
    for name in ("sam2", "sam3"):
        assert said[name].startswith(f"{fault} run: pip install --force-reinstall torchvision torch==")
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if any(said[name] != "works" for name in said if name.startswith("toyworld")) else 0)
