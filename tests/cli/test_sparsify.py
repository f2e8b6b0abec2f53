"""``datasetkit sparsify`` for users: output, files in the folder, one-line errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForImageTextToText

from datasetkit.cli import app
from datasetkit.hi_scoring.sparse import SparsePlan, sparsify
from datasetkit.hi_scoring.sparse.folder import Sparsity
from datasetkit.options.head_commands import SparsifyCommand
from datasetkit.runtime.checkpoints import resolve
from tests.conftest import undraw

pytestmark = pytest.mark.slow

MODEL = ("--model", "toyworld:vlm", "--device", "cpu")
QUICK = ("--caption-tokens", "6", "--answer-tokens", "2", "--draws", "1", "--limit", "3")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder built by the command itself; read-only."""
    out = tmp_path_factory.mktemp("cli sparsify") / "scenes"
    assert run("build", "toyworld", "--preset", "none", "--count", "4", "--out", out)[0] == 0
    return out


@pytest.fixture(scope="module")
def scores(scenes: Path) -> Path:
    """Head scores of the shipped model; read-only."""
    out = scenes.parent / "scores"
    options = ("--data", scenes, "--limit", "3", "--positions", "response", "--out", out)
    with pytest.MonkeyPatch.context() as patch:
        undraw(patch)
        assert run("score", *MODEL, *options)[0] == 0
    return out


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_plan_is_measured_and_loads_onto_the_model(
    scenes: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("sparsify", *MODEL, *QUICK, "--data", f"{scenes}/", "--scores", scores, "--window", "4")
    code, shown, reported = run(*arguments, "--dense-above", "1", "--prompt", "Describe the picture.")
    assert code == 0, reported
    folder = Path("sparse/toyworld-vlm--scenes")
    assert reported.splitlines()[0] == "rows: 3 of split train of scenes"
    assert shown.splitlines()[-2] == f"wrote {folder}; {folder / 'plan.json'} keeps 2 heads"
    for line in ("first token of", "quality of responses", "Right answers"):
        assert line in shown
    assert "stayed dense" not in shown
    assert max(map(len, shown.splitlines()[:-2])) <= 80
    # The real namer is at work: what captions name of a scene's objects was counted.
    found = Sparsity.load(folder)
    assert {"key_recall", "accuracy", "cider"} <= found.groups["core"][0].measured.statistics.keys()
    model = AutoModelForImageTextToText.from_pretrained(resolve("toyworld:vlm"), dtype=torch.float32)
    with sparsify(model, SparsePlan.load(folder)) as sparse:
        assert len(sparse.plan.kept) == 2
    code, again, _ = run(*arguments, "--dense-above", "1", "--prompt", "Describe the picture.")
    assert (code, again) == (0, shown)
    code, _, reported = run(*arguments, "--share", ".1")
    assert code == 1
    assert reported.splitlines()[-1].startswith(f"error: {folder} holds other results: options.share is 0.05 there")


def test_defaults_draw_enough_sets_to_tell_of_their_spread() -> None:
    assert SparsifyCommand.model_fields["draws"].default == 5


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("--share", ".7"), "--share: Input should be less than or equal to 0.5 (came: 0.7)"),
        (("--by", "hi:phrase"), "no score is called hi:phrase; known: hi:response"),
        (("--kernel", "flex"), "kernel flex is not possible: it needs CUDA, and the model is on cpu; use blocks"),
        (("--tasks", "captions"), "--tasks: Input should be 'caption' or 'vqa'"),
        (("--scores", "/none"), "/none holds no finished head scores"),
        (("--split", "other"), "has the splits train; give one of them, not other"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    scenes: Path, scores: Path, tmp_path: Path, arguments: tuple[str, ...], reported: str
) -> None:
    given = ("--data", scenes, "--scores", scores, "--out", tmp_path / "out")
    code, shown, errors = run("sparsify", *MODEL, *given, *arguments)
    assert (code, shown) == (1, "")
    [line] = [line for line in errors.splitlines() if "error: " in line]
    assert line == errors.splitlines()[-1]
    assert reported in line
    assert not (tmp_path / "out").exists()
