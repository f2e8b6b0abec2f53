from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from datasetkit.core.errors import MissingPackageError
from datasetkit.runtime import packages as packages_module
from datasetkit.runtime.packages import Package, clone_of, first_fault, install_command, require
from tests.conftest import REPOSITORY

TORCH = f"torch=={version('torch').partition('+')[0]}"


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dk_sound.py").write_text("")
    for name, line in (
        ("dk_broken", "raise RuntimeError('no\\n such operator')"),
        ("dk_lib", "raise OSError('lib.so: cannot open')"),
        ("dk_after", "import dk_broken"),
    ):
        (tmp_path / f"{name}.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("module", "fault"),
    [
        ("dk_sound", None),
        ("dk_broken", "RuntimeError: no such operator"),
        ("dk_lib", "OSError: lib.so: cannot open"),
        ("dk_absent", "ModuleNotFoundError: No module named 'dk_absent'"),
    ],
)
def test_faults_are_one_line(module: str, fault: str | None) -> None:
    assert Package(module).fault() == fault


CLONE = Path("/clones/data set kit")


@pytest.mark.parametrize(
    ("package", "torch", "clone", "is_installed", "command"),
    [
        (Package("dk"), None, None, False, "pip install dk"),
        (Package("dk.models"), "2.13.0", None, False, "pip install dk torch==2.13.0"),
        (Package("dk"), "2.13.0", None, True, "pip install --force-reinstall dk torch==2.13.0"),
        (Package("dk"), "2.13.0+cpu", CLONE, False, "pip install --force-reinstall dk torch==2.13.0"),
        (Package("dk", "vlm"), "2.13.0+cpu", None, False, "pip install 'datasetkit[vlm]' torch==2.13.0"),
        (
            Package("dk", "vlm"),
            "2.13.0",
            CLONE,
            False,
            f"pip install --constraint '{CLONE}/constraints.txt' --editable '{CLONE}[vlm]' torch==2.13.0",
        ),
    ],
)
def test_a_package_is_installed_with_the_torch_it_fits(
    package: Package, torch: str | None, clone: Path | None, is_installed: bool, command: str
) -> None:
    assert install_command(package, torch, clone, is_installed=is_installed) == command


def test_a_clone_is_told_from_a_wheel(tmp_path: Path) -> None:
    assert clone_of(Path(packages_module.__file__)) == REPOSITORY
    assert clone_of(tmp_path / "site-packages" / "datasetkit" / "runtime" / "packages.py") is None


def test_the_command_fixes_all_packages_of_a_model() -> None:
    broken, after, absent = (
        Package("dk_broken"),
        Package("dk_after", "after"),
        Package("dk_absent", "absent"),
    )
    assert first_fault([Package("dk_sound")]) is None
    commands = f"pip install --force-reinstall dk_broken {TORCH} && {absent.command}"
    assert first_fault([broken, after, absent]) == (broken, "RuntimeError: no such operator", commands)


def test_requiring_says_what_to_run() -> None:
    require("sam2", Package("dk_sound"))
    with pytest.raises(MissingPackageError) as caught:
        require("sam2", Package("dk_sound"), Package("dk_absent", "absent"))
    assert str(caught.value) == (
        "sam2 needs dk_absent, which does not work here (ModuleNotFoundError: No module named 'dk_absent'); "
        f"run: {Package('dk_absent', 'absent').command}"
    )
