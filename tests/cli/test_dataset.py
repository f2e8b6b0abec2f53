"""The commands for a built dataset, for users and scripts: output streams, and exit codes."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from tests.export.folders import record, rows_of, write_folder
from tests.processes import command

SHARD = "data/train-00000-of-00001.parquet"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    write_folder(tmp_path / "scenes", {"train": [rows_of([record(number) for number in range(3)])]})
    return tmp_path / "scenes"


def run(*arguments: object, **more: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)), **more)  # type: ignore[arg-type]
    return result.exit_code, result.stdout, result.stderr


def commands(built: Path) -> list[tuple[object, ...]]:
    """Each command for a built dataset, checked without a model."""
    return [
        ("verify", built),
        ("stats", built),
        ("preview", built, "--limit", 2),
        ("card", built),
        ("export", built, built.parent / "coco", "--to", "coco"),
        ("push", built, f"memory://{built.parent.name}/scenes", "--dry-run"),
        ("push", built, f"memory://{built.parent.name}/scenes"),
        ("completion", "fish"),
    ]


def test_results_are_printed(built: Path) -> None:
    shown = {str(call[0]): run(*call) for call in commands(built)}
    assert all((code, errors) == (0, "") for code, _, errors in shown.values()), shown
    assert shown["verify"][1] == f"{built} is sound\n"
    assert "phrases by status" in shown["stats"][1]
    assert f"wrote {built / 'assets' / 'phrases.png'}" in shown["stats"][1].replace("\n", "")
    assert shown["preview"][1] == f"wrote {built}.html (2 of 3 records)\n"
    assert shown["card"][1] == f"wrote {built / 'README.md'}\n"
    assert shown["export"][1].endswith(f"wrote        {built.parent / 'coco'}\n")
    assert shown["push"][1].startswith("sent ")


def test_json_is_one_object_and_nothing_else(built: Path) -> None:
    for call in commands(built):
        code, shown, errors = run(*call, "--json")
        assert (code, errors) == (0, ""), call
        assert isinstance(json.loads(shown), dict), call
    code, shown, _ = run("stats", built.parent, "--json")
    assert (code, json.loads(shown)["error"].startswith(f"{built.parent} was not written")) == (1, True)


def test_quiet_prints_errors_only(built: Path) -> None:
    for call in commands(built):
        assert run(*call, "--quiet", env={"FORCE_COLOR": "1"}) == (0, "", ""), call
    code, shown, errors = run("stats", built.parent, "--quiet")
    assert (code, shown, errors.count("\n")) == (1, "", 1)


def test_stats_leaves_the_folder_as_it_was(built: Path) -> None:
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file()}
    assert run("stats", built)[0] == 0
    assert {path: path.read_bytes() for path in built.rglob("*") if path.is_file()} == before


def test_verify_prints_a_line_per_fault(built: Path) -> None:
    data = bytearray((built / SHARD).read_bytes())
    data[len(data) // 2] ^= 1
    (built / SHARD).write_bytes(data)
    code, shown, errors = run("verify", built)
    assert (code, errors) == (1, "")
    assert shown.startswith(f"{SHARD}: has {len(data):,} bytes")
    assert shown.splitlines()[-1].endswith(f" in {built}")
    on_terminal = CliRunner().invoke(app, ["verify", str(built)], env={"FORCE_COLOR": "1", "COLUMNS": "120"})
    assert on_terminal.stdout == shown
    found = json.loads(run("verify", built, "--json")[1])
    assert (found["is_sound"], found["faults"][0]["where"]) == (False, SHARD)


@pytest.mark.parametrize("name", ["verify", "stats", "preview", "card", "export", "push"])
def test_a_folder_that_was_never_built_is_one_line(name: str, tmp_path: Path) -> None:
    more = {"export": ["out", "--to", "coco"], "push": ["user/name"]}.get(name, [])
    (tmp_path / "README.md").write_text("mine")
    code, shown, errors = run(name, tmp_path, *more)
    assert (code, shown, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"error: {tmp_path} was not written by datasetkit: it has no manifest.json")


def test_a_build_that_was_cut_short_is_a_fault(built: Path) -> None:
    (built / ".build").mkdir()
    (built / ".build/exchange.json").write_text("{}")
    assert "contains an unfinished build" in run("verify", built)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "nowhere"], "nowhere is not a folder"),
        (["preview", "BUILT", "--limit", "0"], "--limit: Input should be greater than or equal to 1"),
        (["export", "BUILT", "out", "--to", "voc"], "no format is called 'voc'; known: coco, imagefolder, labelstudio"),
        (["export", "BUILT", "out", "--to", "coco", "--split", "dev"], "has no split 'dev'; it has train"),
        (["export", "BUILT", "BUILT/out", "--to", "coco"], "is inside the other"),
        (["push", "BUILT", "s3://bucket/x", "--token", "hf_secret"], "are for the Hub"),
        (["push", "BUILT", "user/name", "--create-pr", "--tag", "v1"], "--tag do not go with it"),
        (["push", "BUILT", "user/name", "--commit-message", ""], "--commit-message: String should have at least 1"),
    ],
)
def test_mistakes_are_one_line_and_cheap(built: Path, arguments: list[str], message: str) -> None:
    """Without slow imports, in little more time than Python itself."""
    typed = [argument.replace("BUILT", str(built)) for argument in arguments]
    heavy = (
        "import atexit, sys\natexit.register(lambda: print({'torch', 'transformers', 'datasets'} & {*sys.modules}))\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", heavy + command()[2], *typed],
        capture_output=True,
        text=True,
        check=False,
        cwd=built.parent,  # where nothing is called "out"
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout) == (1, "set()\n"), done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hf_secret" not in done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3, "half of it on an idle machine"


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    ran = subprocess.run(command("stats", tmp_path, "--debug"), capture_output=True, text=True, check=False)
    assert (ran.returncode, "Traceback" in ran.stderr) == (1, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script(shell: str) -> None:
    code, script, _ = run("completion", shell)
    assert code == 0
    assert "_DATASETKIT_COMPLETE" in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_completion_names_commands_and_options() -> None:
    for words, wanted in (("datasetkit ver", "plain,verify"), ("datasetkit push --cre", "plain,--create-pr")):
        env = {"_DATASETKIT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        shown = CliRunner().invoke(app, [], prog_name="datasetkit", env=env)
        assert wanted in shown.stdout.splitlines()
