"""``datasetkit score`` for users: output, files in the folder, one-line errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.hi_scoring.scores.results import HeadScores
from tests.processes import command, interrupt, start

pytestmark = pytest.mark.slow

RESULTS = {"scores.safetensors", "scores.parquet", "layers.parquet", "scores.json", "drops.jsonl", "run.json"}
MODEL = ("--model", "toyworld:vlm", "--device", "cpu", "--batch", "4")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder built by the command itself; read-only."""
    out = tmp_path_factory.mktemp("cli score") / "scenes"
    assert run("build", "toyworld", "--preset", "none", "--count", "24", "--out", out)[0] == 0
    return out


@pytest.fixture(scope="module")
def finished(scenes: Path) -> Path:
    """Scores from one undisturbed process; read-only."""
    out = scenes.parent / "finished"
    assert run("score", *MODEL, "--data", scenes, "--out", out, "--top", "3")[0] == 0
    return out


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def contents(folder: Path) -> dict[str, bytes]:
    assert {path.name for path in folder.iterdir()} == RESULTS | {"report.html"}
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}


def test_scores_are_shown_and_lie_in_the_folder(scenes: Path, finished: Path) -> None:
    code, shown, _ = run("score", *MODEL, "--data", scenes, "--out", finished, "--top", "3")
    assert code == 0
    for line in ("heads by hi:response", "layers (mean over heads)", "stability of the ranking"):
        assert line in shown
    assert shown.splitlines()[-2:] == [
        f"wrote {finished} (scores of 24 samples)",
        f"open {finished / 'report.html'} in a browser",
    ]
    assert max(map(len, shown.splitlines()[:-2])) <= 80
    scores = HeadScores.load(finished)
    assert scores.shape == (4, 8)
    columns = ["score", "positions", "layer", "head", "mean", "low", "high", "chance", "n"]
    table = pq.read_table(finished / "scores.parquet")
    assert table.column_names == columns
    assert table.num_rows == 8 * 3 * 4 * 8
    assert set(table["positions"].to_pylist()) == {"response", "phrase", "last"}
    assert set(table["n"].to_pylist()) <= set(range(25))


@pytest.mark.usefixtures("undrawn")
def test_another_ranking_needs_no_new_scores(scenes: Path, finished: Path) -> None:
    before = {name: (finished / name).stat().st_mtime_ns for name in RESULTS}
    code, shown, _ = run("score", *MODEL, "--data", scenes, "--out", finished, "--by", "ram:phrase", "--top", "1")
    assert code == 0
    assert "heads by ram:phrase" in shown
    code, shown, _ = run("score", *MODEL, "--data", scenes, "--out", finished, "--by", "hi:last", "--json")
    assert (code, json.loads(shown)["samples"], json.loads(shown)["ranked_by"]) == (0, 24, "hi:last")
    assert {name: (finished / name).stat().st_mtime_ns for name in RESULTS} == before
    assert "Heads with the highest hi:last" in (finished / "report.html").read_text()


def test_two_processes_of_a_launcher_make_the_same_files(scenes: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ("score", *MODEL, "--data", scenes, "--limit", "12", "--positions", "response", "--top", "1", "--out")
    done = subprocess.run(
        [*launcher, "--no-python", *command(*arguments, tmp_path / "out")],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("heads by hi:response") == 1
    assert done.stderr.splitlines() == ["rows: 12 of split train of scenes"]
    assert run(*arguments, tmp_path / "alone")[0] == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_ctrl_c_says_how_to_go_on(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("score", *MODEL, "--batch", 1, "--data", scenes, "--out", out, env=environment(tmp_path))
    interrupt(process, lambda: list(out.glob("parts/*.safetensors")))
    assert 1 <= len(list(out.glob("parts/*.safetensors"))) < 24


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (
            ("--by", "hi"),
            "--by: give SCORE:POSITIONS, a score of hi, hi_soft, .* scored (response, phrase, last)",
        ),
        (("--by", "hi:generated"), "--by: give SCORE:POSITIONS"),
        (("--by", "his:response"), "--by: give SCORE:POSITIONS"),
        (("--by", "hi:last", "--positions", "response"), "positions that are scored (response)"),
        (
            ("--positions", "answer"),
            "--positions: Input should be 'response', 'phrase', 'last' or 'generated'",
        ),
        (("--positions", "last,last"), "--positions: name each item once, not last, last"),
        (("--positions", ""), "--positions: Input should be"),
        (("--prompt", ""), "--prompt: String should have at least 1 character (came: '')"),
        (("--device", "tpu9"), "device 'tpu9' cannot be used"),
        (("--split", "val"), "has the splits train; give one of them, not val"),
        (("--data", "/no/such/folder"), "is not a folder, nor a dataset on the Hub"),
        (("--data", ""), "is not a folder, nor a dataset on the Hub"),
        (
            ("--revision", "main"),
            "--revision: a model on this machine has no revisions; leave this option out",
        ),
        (("--model", "/no/such/model"), "there is no folder /no/such/model"),
        (("--model", "toyworld:nothing"), "toyworld:nothing"),
        (("--model", "toyworld:detector"), "of type 'grounding-dino'; known: gemma3, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_is_one_line(scenes: Path, tmp_path: Path, arguments: tuple[str, ...], reported: str) -> None:
    code, shown, errors = run("score", *MODEL, "--data", scenes, "--out", tmp_path / "out", *arguments)
    assert (code, shown) == (1, "")
    [line] = [line for line in errors.splitlines() if "error: " in line]
    assert line == errors.splitlines()[-1]
    for part in reported.split(" .* "):
        assert part in line
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--limit", "--top", "--batch", "--max-new-tokens"])
def test_numbers_are_at_least_one(tmp_path: Path, option: str) -> None:
    code, shown, errors = run("score", *MODEL, "--data", "/none", option, "0")
    assert (code, shown) == (1, "")
    assert errors == f"error: {option}: Input should be greater than or equal to 1 (came: 0)\n"
    code, shown, errors = run("score", *MODEL, "--data", "/none", option, "some")
    assert (code, shown) == (2, "")
    assert f"'{option}': 'some'" in errors


@pytest.mark.parametrize("option", ["--convention", "--binarisation", "--evidence", "--dtype"])
def test_what_is_no_choice_is_answered_with_the_choices(option: str) -> None:
    code, shown, errors = run("score", *MODEL, "--data", "/none", option, "other")
    assert (code, shown, errors.count("\n")) == (2, "", 1)
    assert f"'{option}': 'other' is not one of " in errors


def test_an_impossible_ranking_is_refused_before_loading(tmp_path: Path) -> None:
    code, _, errors = run("score", "--model", "/none", "--data", "/none", "--by", "hi:generated")
    assert code == 1
    assert errors.startswith("error: --by: give SCORE:POSITIONS")


def test_results_of_others_are_one_line_and_stay(scenes: Path, finished: Path) -> None:
    before = {name: (finished / name).stat().st_mtime_ns for name in RESULTS}
    arguments = ("score", *MODEL, "--data", scenes, "--out", finished)
    code, _, errors = run(*arguments, "--limit", "3")
    assert code == 1
    assert errors.splitlines()[-1].startswith(f"error: {finished} holds other results: data.rows is 24 there, 3 here; ")
    assert {name: (finished / name).stat().st_mtime_ns for name in RESULTS} == before


def test_an_out_that_is_a_file_is_one_line(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    code, _, errors = run("score", *MODEL, "--data", scenes, "--out", tmp_path / "out")
    assert code == 1
    assert errors.splitlines()[-1] == f"error: {tmp_path / 'out'}: File exists"
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.usefixtures("undrawn")
def test_scores_go_where_model_and_data_say(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--limit", "2", "--positions", "generated,last", "--max-new-tokens", "3", "--by", "hi:generated")
    code, shown, _ = run("score", *MODEL, "--data", f"{scenes}/", *options)
    assert code == 0
    assert "heads by hi:generated" in shown
    scores = HeadScores.load(tmp_path / "scores" / "toyworld-vlm--scenes")
    assert len(scores.record_ids) == 2
    assert {positions for _, positions in scores.values} == {"generated", "last"}
