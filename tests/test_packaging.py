"""What is installed: the wheel holds every package and every template, and importing stays light."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("annotation", "datasetkit", "export", "hi_scoring")
HEAVY = ("torch", "transformers", "datasets", "pyarrow", "pandas", "matplotlib", "nltk", "textblob", "pycocotools")


def test_every_package_folder_is_listed() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(REPOSITORY).parts)
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("__init__.py")
    }
    weights = {f"datasetkit.toyworld.weights.{name}" for name in ("detector", "segmenter", "vlm")}
    assert listed == found | weights | {"export.cards"}


@pytest.fixture(scope="session")
def wheel_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the interpreter of a clean environment that has our wheel, and our dependencies from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, cwd=folder)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    # A path line in a .pth file adds a folder without running the .pth files in it: our editable install stays out.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_wheel_runs_help_and_renders_a_card(wheel_python: Path, tmp_path: Path) -> None:
    script = wheel_python.parent / "datasetkit"
    shown = subprocess.run([script, "--help"], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "build" in shown
    out = tmp_path / "out"
    build = [script, "build", "toyworld", "--count", "2", "--size-px", "64", "--out", out]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)
    assert "load_dataset" in (out / "README.md").read_text(encoding="utf-8")
    subprocess.run([script, "preview", out], check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "out.html").stat().st_size > 0


def test_wheel_holds_the_weights(wheel_python: Path, tmp_path: Path) -> None:
    code = "from datasetkit.checkpoints import weights_folder; print(weights_folder())"
    shown = subprocess.run([wheel_python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    shipped = REPOSITORY / "datasetkit" / "toyworld" / "weights"
    names = {path.relative_to(shipped).as_posix() for path in shipped.rglob("*") if path.is_file()}
    installed = Path(shown.strip())
    assert {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()} == names


def test_wheel_is_what_ran(wheel_python: Path, tmp_path: Path) -> None:
    code = f"import importlib, json; print(json.dumps([importlib.import_module(n).__file__ for n in {PACKAGES!r}]))"
    shown = subprocess.run([wheel_python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    environment = wheel_python.parent.parent.resolve()
    assert all(Path(file).resolve().is_relative_to(environment) for file in json.loads(shown))


@pytest.mark.parametrize(
    "code",
    [
        "import datasetkit",
        "import datasetkit.cli",
        "import sys; sys.argv = ['datasetkit', '--help']; from datasetkit.cli import main; main()",
        "import sys; sys.argv = ['datasetkit', 'build', 'coco', '--help']; from datasetkit.cli import main; main()",
    ],
)
def test_imports_stay_light(code: str) -> None:
    loaded = f"[name for name in {HEAVY!r} if name in sys.modules]"
    check = f"import atexit, sys; atexit.register(lambda: print({loaded}, file=sys.stderr))"
    ran = subprocess.run([sys.executable, "-c", f"{check}\n{code}"], check=True, capture_output=True, text=True)
    assert ran.stderr.strip() == "[]"
