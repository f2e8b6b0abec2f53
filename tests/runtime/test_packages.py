from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from datasetkit.core.errors import MissingPackageError
from datasetkit.runtime.packages import Package, first_fault, require

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
    assert Package(module, module).fault() == fault


@pytest.mark.parametrize(
    ("installed", "module", "command"),
    [
        ("2.13.0", "dk_absent", "pip install dk_absent torch==2.13.0"),
        ("2.13.0", "dk_broken", "pip install --force-reinstall dk_broken torch==2.13.0"),
        ("2.13.0+cpu", "dk_absent", "pip install --force-reinstall dk_absent torch==2.13.0"),
    ],
)
def test_a_package_comes_with_the_torch_that_it_is_built_for(
    monkeypatch: pytest.MonkeyPatch, installed: str, module: str, command: str
) -> None:
    monkeypatch.setattr("datasetkit.runtime.packages.version", lambda _: installed)
    assert Package(module, module).command == command


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
        f"pip install --force-reinstall dk_broken {TORCH} && pip install 'datasetkit[absent]' {TORCH}",
    )


def test_requiring_says_what_to_run() -> None:
    require("sam2", Package("dk_sound", "dk_sound"))
    with pytest.raises(MissingPackageError) as caught:
        require("sam2", Package("dk_sound", "dk_sound"), Package("dk_absent", "'datasetkit[absent]'"))
    assert str(caught.value) == (
        "sam2 needs dk_absent, which does not work here (ModuleNotFoundError: No module named 'dk_absent'); "
        f"run: pip install 'datasetkit[absent]' {TORCH}"
    )
