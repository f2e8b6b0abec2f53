"""``datasetkit ablate`` for users: output, files in the folder, one-line errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.data.datasets import open_data
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.options.heads import ScoreOptions
from tests.processes import interrupt, start

pytestmark = pytest.mark.slow

MODEL = ("--model", "toyworld:vlm", "--device", "cpu", "--prompt", "Describe the picture.")
FEW = ("--modes", "zero", "--doses", ".02", "--draws", "2")
SHORT = ("--caption-tokens", "6", "--answer-tokens", "2")
TABLE = "layer,head,score\n" + "".join(
    f"{layer},{head},{layer + head / 10}\n" for layer in range(4) for head in range(8)
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder built by the command itself; read-only."""
    out = tmp_path_factory.mktemp("cli ablate") / "scenes"
    built = ("--preset", "none", "--no-overlay", "--size-px", "128", "--count", "6", "--split", "test", "--out", out)
    assert run("build", "toyworld", *built)[0] == 0
    return out


@pytest.fixture(scope="module")
def scores(scenes: Path) -> Path:
    """Random head scores of the model; read-only."""
    return save_scores(scenes.parent / "scores", {"name": "drawn"})


def save_scores(out: Path, dataset: dict[str, Any]) -> Path:
    random = np.random.default_rng(0)
    HeadScores(
        {name: random.random((3, 4, 8)) for name in (("hi", "phrase"), ("image_mass", "last"))},
        chances={},
        record_ids=("a", "b", "c"),
        options=ScoreOptions(),
        model=Subject("toyworld:vlm").identity,
        dataset=dataset,
    ).save(out)
    return out


@pytest.fixture(scope="module")
def table(scenes: Path) -> Path:
    path = scenes.parent / "mine.csv"
    path.write_text(TABLE)
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_dose_curves_are_shown_and_lie_in_the_folder(
    scenes: Path, scores: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rankings = ("--scores", scores, "--by", "hi:phrase", "--by", "image_mass:last", "--table", table)
    code, shown, errors = run("ablate", *MODEL, "--data", scenes, *rankings, *FEW, "--limit", "4", *SHORT)
    assert code == 0, errors
    folder = tmp_path / "ablated" / "toyworld-vlm--scenes"
    lines = shown.splitlines()
    for ranking in ("hi:phrase", "image_mass:last", "table:mine.csv"):
        assert f"zero ablation of heads by {ranking}" in shown
    assert max(map(len, lines[:-1])) <= 80
    found = Ablations.load(Path("ablated") / "toyworld-vlm--scenes")
    assert lines[-2].startswith("wrote ablated/toyworld-vlm--scenes (")
    assert lines[-2].endswith("conditions on 4 samples)")
    metrics = set(found.curves["metric"])
    assert (
        {name for name in metrics if ":" not in name}
        == set(found.contrasts["metric"])
        == {
            *("bleu4", "rouge_l", "cider", "key_precision", "key_recall", "hallucination"),
            *("accuracy", "answer_probability"),
        }
    )
    assert any(name.startswith("accuracy:") for name in metrics)
    assert found.facts["rows"] == {"read": 4, "used": 4, "dropped": 0}
    assert "warning" not in errors
    assert found.facts["rankings"]["hi:phrase"]["data"]["name"] == "drawn"
    trials = [one for one in found.facts["trials"] if (one["ranking"], one["rule"]) == ("table:mine.csv", "top")]
    assert {tuple(map(tuple, one["heads"])) for one in trials} == {((3, 7),)}
    assert {path.name for path in folder.iterdir()} == {
        *("ablation.json", "ablations.parquet", "contrasts.parquet", "conditions", "drops.jsonl", "run.json")
    }


def test_a_ranking_by_the_same_rows_is_a_warning(scenes: Path, tmp_path: Path) -> None:
    own = save_scores(tmp_path / "scores", open_data(str(scenes), "test").identity.as_json())
    rankings = ("--scores", own, "--by", "hi:phrase", "--by", "image_mass:last", "--out", tmp_path / "out")
    arguments = ("ablate", *MODEL, "--data", scenes, *rankings, *FEW, "--limit", "3", "--tasks", "vqa")
    code, _, errors = run(*arguments)
    assert code == 0, errors
    [reported] = [line for line in errors.splitlines() if "warning" in line]
    assert reported == (
        "warning: heads were scored by hi:phrase, image_mass:last on the same rows, so they are chosen and "
        "tested on the same data; score another split"
    )
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "conditions").iterdir()}
    assert run(*arguments)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert run(*arguments, "--overwrite")[0] == 0
    assert all(path.stat().st_mtime_ns > time_ns for path, time_ns in before.items())


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(scenes: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("ablate", *MODEL, "--data", scenes, "--table", table, *FEW, "--tasks", "vqa", "--out", out)
    process = start(*arguments)
    interrupt(process, lambda: list(out.glob("conditions/*.safetensors")))
    kept = {path: path.stat().st_mtime_ns for path in out.glob("conditions/*.safetensors")}
    assert 1 <= len(kept) < 5
    code, shown, _ = run(*arguments)
    assert code == 0
    assert shown.splitlines()[-2] == f"wrote {out} (4 conditions on 6 samples)"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (
            ("--scores", "{scores}", "--by", "hi:nowhere"),
            "no score is called hi:nowhere; known: hi:phrase, image_mass:last",
        ),
        (
            ("--scores", "{scores}", "--by", "hi:phrase", "--by", "hi:phrase"),
            "--by: name each item once, not hi:phrase, hi:phrase",
        ),
        ((), "heads need a ranking; give --scores or --table"),
        (("--by", "hi:last", "--table", "{table}"), "heads need a ranking; give --scores or"),
        (("--scores", "/no/such/folder"), "/no/such/folder holds no finished head scores"),
        (("--table", "/no/such/table.csv"), "/no/such/table.csv: No such file"),
        (("--table", "{table}", "--doses", ".1,x"), "--doses: Input should be a valid number"),
        (("--table", "{table}", "--doses", ".7"), "--doses: Input should be less than or equal to 0.5 (came: '.7')"),
        (("--table", "{table}", "--modes", "cut"), "--modes: Input should be 'zero', 'mean' or 'resample'"),
        (("--table", "{table}", "--tasks", "ocr"), "--tasks: Input should be 'caption' or 'vqa'"),
        (("--table", "{table}", "--question-prompt", "?"), "--question-prompt: the template lacks {question}"),
        (("--table", "{table}", "--split", "val"), "has the splits test; give one of them, not val"),
        (("--table", "{table}", "--revision", "main"), "--revision: a model on this machine has no revisions"),
        (("--table", "{table}", "--limit", "1", "--modes", "resample"), "only one image for caption"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_is_one_line(
    scenes: Path, scores: Path, table: Path, tmp_path: Path, arguments: tuple[str, ...], reported: str
) -> None:
    given = [
        argument.format(scores=scores, table=table) if "{s" in argument or "{t" in argument else argument
        for argument in arguments
    ]
    code, shown, errors = run("ablate", *MODEL, "--data", scenes, "--out", tmp_path / "out", *given)
    assert (code, shown) == (1, "")
    [line] = [line for line in errors.splitlines() if "error: " in line]
    assert line == errors.splitlines()[-1]
    assert reported in line
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()
