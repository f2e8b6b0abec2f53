"""What is installed: one import package with everything in it, which no name in a user's folder can stand in for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

HEAVY = ("torch", "transformers", "datasets", "pyarrow", "pandas", "matplotlib", "nltk", "textblob", "pycocotools")
FOLDERS = ("datasetkit", "annotation", "export", "hi_scoring", "cards")
# A module of each folder, with something that it owns.
USED = {
    "datasetkit": "load",
    "datasetkit.annotation.salience": "with_phrases",
    "datasetkit.export.dataset.manifest": "Manifest",
    "datasetkit.hi_scoring": "HeadScores",
    "datasetkit.export.cards": "__path__",
}
USE = "import importlib; " + "; ".join(f"importlib.import_module({m!r}).{name}" for m, name in USED.items())


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build the sdist, and the wheel from it."""
    return run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=source.parent)


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def checkout(folder: Path) -> Path:
    """Copy what git tracks, or would after the next commit, with its links as links."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY).stdout.splitlines()
    for name in listed:
        source, target = REPOSITORY / name, folder / name
        if name.startswith("tests/") or not (source.is_symlink() or source.exists()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of a clean checkout, and the wheel from that sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    done = build(checkout(folder / "clone"), folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def wheel_python(built: Path) -> Path:
    """The interpreter of a clean environment that has our wheel, and our dependencies from this one."""
    venv.create(built / "venv", with_pip=False)
    python = built / "venv" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=built).stdout.strip()
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel)
    assert run(*pip, cwd=built).returncode == 0
    # A path line in a .pth file adds a folder without running the .pth files in it: our editable install stays out.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A folder in which the user's own files have the names of our folders, and end whoever imports them."""
    for name in ("export.py", "hi_scoring.py", "annotation/__init__.py", "cards/__init__.py", "tests/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit(f'{__file__} was imported')\n")
    (tmp_path / "script.py").write_text(f"{USE}\n")
    return tmp_path


def test_the_wheel_has_one_package_with_every_file(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in members(wheel) if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"datasetkit"}
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS, cwd=REPOSITORY)
    files = [name for name in tracked.stdout.splitlines() if not (REPOSITORY / name).is_symlink()]
    assert names == {installed(name) for name in files if (REPOSITORY / name).exists() and not is_for_people(name)}


def installed(name: str) -> str:
    """Where a file of the repository is in the wheel."""
    top = name.partition("/")[0]
    return {"datasetkit": name, "cards": f"datasetkit/export/{name}"}.get(top, f"datasetkit/{name}")


def is_for_people(name: str) -> bool:
    """Cards of the shipped models are read in the repository."""
    return name.startswith("cards/") and name.endswith(".md")


def test_the_wheel_of_a_checkout_equals_that_of_the_sdist(built: Path, tmp_path: Path) -> None:
    done = run(
        *(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, built / "clone"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (from_sdist,), (from_checkout,) = built.glob("*.whl"), tmp_path.glob("*.whl")
    assert members(from_checkout) == members(from_sdist)


@pytest.mark.parametrize(
    ("lost", "seen"),
    [
        ("src/datasetkit", "src/datasetkit"),
        ("datasetkit/hi_scoring", "src/datasetkit/hi_scoring"),
        ("export/cards", "src/datasetkit/export/cards"),
    ],
)
def test_a_copy_without_its_links_is_refused_in_one_line(built: Path, tmp_path: Path, lost: str, seen: str) -> None:
    """A zip archive of the repository, or git without symbolic links, has a file that names the link's target."""
    clone = shutil.copytree(built / "clone", tmp_path / "clone", symlinks=True)
    target = (clone / lost).readlink()
    (clone / lost).unlink()
    (clone / lost).write_text(str(target))
    done = build(clone, tmp_path / "out")
    assert done.returncode != 0
    (reported,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")]
    assert reported.startswith(f"error: {seen} is not a folder: this copy has lost its symbolic links")
    assert not list((tmp_path / "out").glob("*"))


def test_the_sdist_builds_anywhere(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert (folder / "src" / "datasetkit" / "export" / "cards" / "dataset_card.md.j2").is_file()


def test_names_in_a_users_folder_do_not_matter(wheel_python: Path, users_folder: Path) -> None:
    command = (wheel_python, "-m", "datasetkit", "--help")
    runs = {
        "script": run(wheel_python, "script.py", cwd=users_folder),
        "-c": run(wheel_python, "-c", USE, cwd=users_folder),
        "-m": run(*command, cwd=users_folder),
        "command": run(wheel_python.parent / "datasetkit", "--help", cwd=users_folder, PYTHONPATH="."),
    }
    assert {name: (done.returncode, done.stderr) for name, done in runs.items()} == dict.fromkeys(runs, (0, ""))
    out = users_folder / "out"
    build = ("build", "toyworld", "--preset", "none", "--count", "2", "--size-px", "64", "--out", out)
    for arguments in (build, ("verify", out), ("preview", out)):
        done = run(wheel_python.parent / "datasetkit", *arguments, cwd=users_folder, PYTHONPATH=".")
        assert done.returncode == 0, done.stderr
    assert "load_dataset" in (out / "README.md").read_text(encoding="utf-8")
    assert (users_folder / "out.html").stat().st_size > 0


def test_the_wheel_is_what_ran(wheel_python: Path, tmp_path: Path) -> None:
    code = f"import importlib; print(*[importlib.import_module(name).__path__[0] for name in {packages()!r}])"
    done = run(wheel_python, "-c", code, cwd=tmp_path)
    environment = wheel_python.parent.parent.resolve()
    assert all(Path(path).resolve().is_relative_to(environment) for path in done.stdout.split())


def test_a_wheel_installs_its_extras_by_name(wheel_python: Path, tmp_path: Path) -> None:
    code = "from datasetkit.runtime.packages import SEGMENT_ANYTHING; print(SEGMENT_ANYTHING.command)"
    done = run(wheel_python, "-c", code, cwd=tmp_path, PYTHONPATH="")
    assert done.stdout.startswith("pip install 'datasetkit[sam]' torch=="), done


def packages() -> Iterable[str]:
    return [name for name in USED if "." not in name or name == "datasetkit.hi_scoring"]


def test_python_in_the_parent_of_the_clone_finds_the_package(tmp_path: Path) -> None:
    """The clone's own name may be ``datasetkit``, and its folder is no package."""
    (tmp_path / "datasetkit").mkdir()
    done = run(sys.executable, "-c", USE, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "code",
    [
        "import datasetkit",
        "import datasetkit.cli",
        "import sys; sys.argv = ['datasetkit', '--help']; from datasetkit.cli import main; main()",
        "import sys; sys.argv = ['datasetkit', 'build', 'coco', '--help']; from datasetkit.cli import main; main()",
        "import sys; sys.argv = ['datasetkit', 'completion', 'bash']; from datasetkit.cli import main; main()",
    ],
)
def test_imports_stay_light(code: str) -> None:
    loaded = f"[name for name in {HEAVY!r} if name in sys.modules]"
    check = f"import atexit, sys; atexit.register(lambda: print({loaded}, file=sys.stderr))"
    ran = subprocess.run([sys.executable, "-c", f"{check}\n{code}"], check=True, capture_output=True, text=True)
    assert ran.stderr.strip() == "[]"
