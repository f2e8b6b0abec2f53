from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from annotation.packages import Package, first_fault, fitting_torch, require
from datasetkit.errors import MissingPackageError

TORCH = fitting_torch(version("torch"))


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
    ("installed", "arguments"),
    [
        ("2.13.0", "torch==2.13.0"),
        ("2.13.0+cpu", "torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu"),
        ("2.13.0+cu130", "torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cu130"),
        ("2.9.1+rocm6.4", "torch==2.9.1 --extra-index-url https://download.pytorch.org/whl/rocm6.4"),
        ("2.10.0a0+git1234", "torch==2.10.0a0"),
    ],
)
def test_the_installed_torch_stays(installed: str, arguments: str) -> None:
    assert fitting_torch(installed) == arguments


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
    assert Package(module, module).fault() == fault


def test_what_is_broken_goes_before_it_comes_anew() -> None:
    assert Package("dk_absent", "dk_absent").command == f"pip install dk_absent {TORCH}"
    assert Package("dk_broken", "dk_broken").command == f"pip uninstall -y dk_broken && pip install dk_broken {TORCH}"


def test_the_command_mends_all_packages_of_a_model() -> None:
    broken, after, absent = (
        Package("dk_broken", "dk_broken"),
        Package("dk_after", "'datasetkit[after]'"),
        Package("dk_absent", "'datasetkit[absent]'"),
    )
    assert first_fault([Package("dk_sound", "dk_sound")]) is None
    assert first_fault([broken, after, absent]) == (
        broken,
        "RuntimeError: no such operator",
        f"pip uninstall -y dk_broken && pip install dk_broken {TORCH} && pip install 'datasetkit[absent]' {TORCH}",
    )


def test_requiring_says_what_to_run() -> None:
    require("sam2", Package("dk_sound", "dk_sound"))
    with pytest.raises(MissingPackageError) as caught:
        require("sam2", Package("dk_sound", "dk_sound"), Package("dk_absent", "'datasetkit[absent]'"))
    assert str(caught.value) == (
        "sam2 needs dk_absent, which does not work here (ModuleNotFoundError: No module named 'dk_absent'); "
        f"run: pip install 'datasetkit[absent]' {TORCH}"
    )
