"""The command line for users: exit codes, one-line errors, resumed and refused builds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from datasetkit.cli import app
from datasetkit.core.text import duration
from tests.processes import interrupt, start

pytestmark = pytest.mark.slow

RUN = CliRunner()


def run(*arguments: object) -> tuple[int, str, str]:
    result = RUN.invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "scenes"
    code, shown, errors = run("build", "toyworld", "--count", 6, "--size-px", 64, "--part-size", 2, "--out", out)
    assert code == 0
    assert "read 6, kept 6 (train 6)" in shown
    assert "\ndetections   read " in shown
    assert "no annotation was kept" not in errors, "masks of the models replaced the source's masks"
    return out


def test_a_build_says_what_it_loads_and_how_long_it_took(tmp_path: Path) -> None:
    command = [
        "build",
        "toyworld",
        "--count",
        "1",
        "--size-px",
        "64",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    ]
    done = RUN.invoke(app, command, env={"FORCE_COLOR": "1", "COLUMNS": "120"})
    assert done.exit_code == 0
    assert "toyworld:detector, toyworld:segmenter" in done.stderr
    assert re.search(r"built in [\d.]+ s", done.stderr)
    assert "loading" not in run(*command)[2], "nothing where nobody looks"
    for path, data in files(tmp_path / "out").items():
        assert b"took" not in data, path


@pytest.mark.parametrize(
    ("seconds", "reported"),
    [
        (0.04, "0.0 s"),
        (7.26, "7.3 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.9, "1 h 0 min"),
        (3720, "1 h 2 min"),
    ],
)
def test_durations_are_spelt(seconds: float, reported: str) -> None:
    assert duration(seconds) == reported


def test_a_finished_build_stays_and_another_recipe_is_refused(built: Path) -> None:
    before = files(built)
    again = ("build", "toyworld", "--size-px", 64, "--part-size", 2, "--out", built)
    assert run(*again, "--count", 6)[0] == 0
    code, _, errors = run(*again, "--count", 7)
    assert code == 1
    assert errors.startswith("error: ")
    assert "--overwrite" in errors
    assert errors.count("\n") == 1
    assert files(built) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "folder", "nowhere"], "nowhere is not a folder"),
        (["build", "coco", "--images", "."], "error: give --instances, --captions or both"),
        (["build", "toyworld", "--splits", "train=.5,test=.4"], "add up to 1"),
        (["build", "toyworld", "--splits", "train"], "train=.9,validation=.05,test=.05"),
        (["build", "toyworld", "--split", "a", "--splits", "a=1"], "give one of them"),
        (["build", "toyworld", "--splits", "a=.5,a=.5"], "a split is named twice"),
        (["build", "toyworld", "--size-px", "9"], "--size-px: Input should be greater than or equal to 64"),
        (["build", "recipe", "nowhere.yaml"], "nowhere.yaml does not exist"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")] if arguments[0] == "build" else []
    code, _, errors = run(*arguments, *out)
    assert code == 1
    assert message in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_build_that_keeps_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_text("no image")
    code, _, errors = run("build", "folder", tmp_path / "images", "--out", tmp_path / "out")
    assert code == 1
    assert "no record was kept (read: 1); 1 record: not_an_image" in errors
    assert errors.endswith("ledger.jsonl lists every one; --retry-failed reads those again that may succeed later\n")
    assert json.loads((tmp_path / "out" / "ledger.jsonl").read_text())["reason"] == "not_an_image"


def test_images_without_a_description_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "metadata.jsonl").write_text('{"file_name": "a.png", "stars": 5}\n')
    code, shown, _ = run("build", "folder", tmp_path / "images", "--out", tmp_path / "out")
    assert code == 0
    assert "noticed      1 time: no_description" in shown
    assert run("verify", tmp_path / "out")[0] == 0


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, errors = run("build", "toyworld", "--count", 1, "--out", tmp_path / "file" / "out")
    assert code == 1
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1


def test_a_stored_recipe_builds_the_same_bytes(built: Path, tmp_path: Path) -> None:
    assert run("build", "recipe", built / "recipe.yaml", "--out", tmp_path / "again")[0] == 0
    assert files(tmp_path / "again") == files(built)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    built = ("--preset", "none", "--count", 400, "--part-size", 4, "--out", tmp_path / "out")
    process = start("build", "toyworld", *built)
    interrupt(process, lambda: list(tmp_path.glob("out/.build/part-*.json")))
