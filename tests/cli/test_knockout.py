"""``datasetkit knockout`` for users: output, files in the folder, one-line errors."""

from __future__ import annotations

import os
from pathlib import Path

import datasets
import pandas as pd
import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.hi_scoring.interventions.knockout_results import RESULT_NAMES, Knockouts
from tests.processes import interrupt, start

pytestmark = pytest.mark.slow

MODEL = ("--model", "toyworld:vlm", "--device", "cpu")
QUICK = (*MODEL, "--flows", "image->last,question -> last", "--window", "1")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder built by the command itself; read-only."""
    out = tmp_path_factory.mktemp("cli knockout") / "scenes"
    built = run(
        "build", "toyworld", "--preset", "none", "--no-overlay", "--size-px", "128", "--count", "6", "--out", out
    )
    assert built[0] == 0
    return out


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_tables_are_shown_and_lie_in_the_folder(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("knockout", *MODEL, "--data", scenes, "--window", "1", "--limit", "2", "--out", out)
    code, shown, errors = run(*arguments)
    assert code == 0, errors
    lines = shown.splitlines()
    assert lines[0].rstrip() == "largest drops of the answer's probability, %"
    assert lines[2].split() == ["flow", "n", "layer", "change", "95", "%"]
    assert "question -> last" in shown
    assert "  beyond random edges" in shown
    assert "simultaneous over layers" in shown
    assert "after layer  answer  Answer  false option  False option" in shown
    assert max(map(len, lines[:-2])) <= 80
    assert {path.name for path in out.iterdir()} == {*RESULT_NAMES, "run.json", "drops.jsonl"}
    curves, per_question = (pd.read_parquet(out / f"{name}.parquet") for name in ("curves", "knockout"))
    assert set(curves["flow"]) == set(per_question["flow"])
    assert set(curves["layer"]) == {0, 1, 2, 3}
    assert {"n", "change", "change_low", "change_high", "control", "difference"} <= set(curves.columns)
    assert {"picture_id", "flow", "category", "layer", "p", "change", "control_change"} <= set(per_question.columns)
    # The same again computes nothing.
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert run(*arguments)[1] == shown
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_of_questions_beside_their_images_are_asked(scenes: Path, tmp_path: Path, suffix: str) -> None:
    rows = datasets.load_dataset(str(scenes), split="train").select_columns(["image", "questions", "objects"])
    asked = []
    for number, row in enumerate(rows.select(range(2))):
        row["image"].save(tmp_path / f"{number}.png")
        for question in row["questions"]:
            boxes = [row["objects"][place]["bbox"] for place in question["object_ids"]]
            names = {"image": f"{number}.png", "question": question["question"], "answer": question["answer"]}
            asked.append(names | {"type": question["type"], "boxes": str(boxes) if suffix == ".csv" else boxes})
    asked.append({**asked[0], "image": "../away.png"})
    frame = pd.DataFrame(asked)
    table = tmp_path / f"table{suffix}"
    frame.to_csv(table, index=False) if suffix == ".csv" else frame.to_parquet(table)
    code, shown, errors = run("knockout", *QUICK, "--all", "--data", table, "--out", tmp_path / "out")
    assert code == 0, errors
    assert "dropped   1: path_escapes (the image's name leads outside its folder)" in shown
    assert f"wrote {tmp_path / 'out'} (knockouts of {len(asked) - 1} questions)" in shown


def test_chosen_heads_and_a_prompt_with_options(scenes: Path, tmp_path: Path) -> None:
    arguments = ("--heads", "0.1, 2.6", "--question-prompt", "{question} {options}", "--all", "--limit", "1")
    flows = ("--flows", "options->last", "--seed", "3", "--answer-tokens", "1")
    code, shown, errors = run("knockout", *MODEL, *flows, *arguments, "--data", scenes, "--out", tmp_path / "out")
    assert code == 0, errors
    assert "options -> last" in shown
    options = Knockouts.load(tmp_path / "out").facts["options"]
    assert (options["heads"], options["seed"], options["answer_tokens"]) == ([[0, 1], [2, 6]], 3, 1)


def test_ctrl_c_says_how_to_go_on(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    environment = os.environ | {"HF_DATASETS_CACHE": str(tmp_path / "cache")}
    process = start("knockout", *QUICK, "--data", scenes, "--out", out, env=environment)
    interrupt(process, lambda: list(out.glob("parts/*.parquet")))


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (
            ("--flows", "picture->last"),
            "--flows: 'picture->last' is not a flow; give SOURCE->TARGET, each of",
        ),
        (("--flows", "image->last,image -> last"), "--flows: name each item once"),
        (("--heads", "3"), "--heads: give LAYER.HEAD, both counted from 0, such as 2.6,3.7 (came: '3')"),
        (("--heads", "4.0"), "there is no head 4.0; the model has 4 layers of 8 heads"),
        (("--question-prompt", "What?"), "--question-prompt: the template lacks {question} (came: 'What?')"),
        (("--revision", "main"), "--revision: a model on this machine has no revisions"),
        (("--split", "val"), "has the splits train; give one of them, not val"),
        (("--data", "/no/such/table.csv"), "/no/such/table.csv does not exist"),
        (
            ("--data", "/no/such/table.csv", "--split", "test"),
            "--split test: the table /no/such/table.csv has no splits",
        ),
        (("--data", "/no/such/folder"), "is not a folder, nor a dataset on the Hub"),
        (("--model", "/no/such/model"), "there is no folder /no/such/model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_is_one_line(scenes: Path, tmp_path: Path, arguments: tuple[str, ...], reported: str) -> None:
    code, shown, errors = run("knockout", *MODEL, "--data", scenes, "--out", tmp_path / "out", *arguments)
    assert (code, shown) == (1, "")
    [line] = [line for line in errors.splitlines() if "error: " in line]
    assert line == errors.splitlines()[-1]
    assert reported in line
    assert not (tmp_path / "out").exists()
