"""``datasetkit tune`` and ``compare`` for users: files in the folder, one-line errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from datasetkit.cli import app
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.options.heads import ScoreOptions
from tests.processes import command

pytestmark = pytest.mark.slow

MODEL = ("--model", "toyworld:vlm", "--device", "cpu")
QUICK = ("--steps", "3", "--limit", "4", "--test-limit", "2", "--caption-tokens", "6", "--answer-tokens", "2")
ALL = ("--select", "all")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder built by the command itself; read-only."""
    out = tmp_path_factory.mktemp("cli tune") / "scenes"
    options = ("--preset", "none", "--count", "12", "--splits", "train=.6,test=.4")
    assert run("build", "toyworld", *options, "--out", out)[0] == 0
    return out


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Invented head scores of the shipped model; read-only."""
    out = tmp_path_factory.mktemp("cli tune") / "scores"
    HeadScores(
        {("hi", "response"): np.random.default_rng(0).random((3, 4, 8))},
        chances={},
        record_ids=["a", "b", "c"],
        options=ScoreOptions(),
        model=Subject("toyworld:vlm").identity,
        dataset={"name": "scored"},
    ).save(out)
    return out


@pytest.fixture(scope="module")
def tuned(scenes: Path) -> tuple[Path, str]:
    """A tuning of all layers, and its log; read-only."""
    out = scenes.parent / "tuned"
    datasets.disable_progress_bars()  # the command itself does so where it is the first to import it
    code, _, reported = run("tune", *MODEL, *QUICK, *ALL, "--data", scenes, "--batch", "4", "--out", out)
    assert code == 0, reported
    return out, reported


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_tuning_writes_an_adapter_and_answers_before_and_after(scenes: Path, tuned: tuple[Path, str]) -> None:
    out, reported = tuned
    assert reported.splitlines()[:2] == [
        "train: 4 rows of split train of scenes",
        "test: 2 rows of split test of scenes",
    ]
    assert not reported.splitlines()[2:]
    assert sorted(path.name for path in (out / "cells").iterdir()) == ["all--seed-0", "untuned"]
    found = Comparison.load(out)
    assert list(found.groups) == ["all"]
    # The real namer is at work: what captions name of a scene's objects was counted.
    assert {"key_recall", "key_precision", "hallucination", "accuracy", "cider"} <= found.untuned.measured[
        "test"
    ].statistics.keys()
    facts = json.loads((out / "cells" / "all--seed-0" / "adapter" / "adapter.json").read_bytes())
    assert facts["model"]["id"] == "toyworld:vlm"
    assert (facts["data"]["name"], facts["data"]["rows"], facts["training"]["steps"]) == ("scenes", 4, 3)
    assert str(scenes.parent) not in (out / "run.json").read_text()


@pytest.mark.usefixtures("undrawn")
def test_the_same_again_runs_nothing(scenes: Path, tuned: tuple[Path, str]) -> None:
    out, _ = tuned
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*")}
    code, _, _ = run("tune", *MODEL, *QUICK, *ALL, "--data", scenes, "--batch", "4", "--out", out)
    assert code == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*")} == before


@pytest.mark.usefixtures("undrawn")
def test_a_comparison_grows_and_reports_after_all_shards(
    scenes: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("compare", *MODEL, *QUICK, "--tasks", "vqa", "--data", f"{scenes}/", "--scores", scores)
    selections = ("--select", "top-layers:1", "--select", "random-heads:2")
    code, shown, reported = run(*arguments, *selections, "--seeds", "0", "--shard", "2/2")
    assert (code, shown) == (0, ""), reported
    assert reported.splitlines()[-1] == (
        f"this shard is done; the report is written to {Path('tuned/toyworld-vlm--scenes')} when all shards are"
    )
    assert run(*arguments, *selections, "--seeds", "0", "--shard", "1/2")[0] == 0
    code, _, reported = run(*arguments, "--select", "top-layers:1", "--seeds", "0, 4", "--set", "lora_dropout=.1")
    assert (code, reported.splitlines()[-1][:40]) == (1, "error: LORA has no setting lora_dropout;"), reported
    code, _, reported = run(*arguments, "--select", "top-layers:1", "--seeds", "0, 4")
    assert code == 0
    found = Comparison.load(tmp_path / "tuned" / "toyworld-vlm--scenes")
    assert {group: [cell.seed for cell in cells] for group, cells in found.groups.items()} == {
        "random-heads:2": [0],
        "top-layers:1": [0, 4],
    }


@pytest.mark.usefixtures("undrawn")
def test_fields_of_peft_and_rows_that_cannot_be_used(scenes: Path, tmp_path: Path) -> None:
    """Custom rows: images with texts, one image truncated."""
    images = tmp_path / "images"
    images.mkdir()
    lines = []
    for number in range(4):
        Image.effect_noise((64, 64), number).save(images / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "text": "a red star"}))
    (images / "metadata.jsonl").write_text("\n".join(lines))
    (images / "2.png").write_bytes((images / "2.png").read_bytes()[:700])
    options = (*MODEL, *QUICK, *ALL, "--tasks", "caption", "--data", images, "--test", scenes)
    out = tmp_path / "out"
    fields = (
        "--set",
        "use_rslora=true",
        "--set",
        "rank_pattern={q_proj: 3}",
        "--rank",
        "1",
        "--targets",
        "q_proj, v_proj",
    )
    code, _, reported = run(
        "tune", *options, *fields, "--forgetting", scenes, "--forgetting-split", "train", "--out", out
    )
    assert code == 0, reported
    assert re.findall(r"train: unusable rows: 1, truncated \(.*\)", reported)
    assert "forgetting: 2 rows of split train of scenes" in reported
    config = json.loads((out / "cells" / "all--seed-0" / "adapter" / "adapter_config.json").read_bytes())
    assert config["use_rslora"] is True
    assert (config["r"], config["rank_pattern"]) == (1, {"q_proj": 3})
    assert {name.rpartition(".")[2] for name in config["target_modules"]} == {"q_proj", "v_proj"}
    assert Comparison.load(out).untuned.measured.keys() == {"test", "forgetting"}
    assert json.loads((out / "cells" / "all--seed-0" / "adapter" / "adapter.json").read_bytes())["examples"] == 3


def test_launched_processes_train_one_adapter(scenes: Path, tuned: tuple[Path, str], tmp_path: Path) -> None:
    """Two processes with half the batch each are one with the whole. Bars of libraries come with an empty cache."""
    out = tmp_path / "out"
    arguments = ("tune", *MODEL, *QUICK, *ALL, "--data", scenes, "--batch", "2", "--save-every", "2", "--out", out)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "--no-python",
            *command(*arguments),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == tuned[1]
    cell = Path("cells", "all--seed-0")
    assert json.loads((out / cell / "adapter" / "adapter.json").read_bytes())["processes"] == 2
    assert "| processes | 2 |" in (out / cell / "adapter" / "README.md").read_text()
    alone, together = (load_file(place / cell / "adapter" / "adapter_model.safetensors") for place in (tuned[0], out))
    assert alone.keys() == together.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=0, atol=1e-5)
    assert not list(out.rglob("*checkpoint*"))


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("--select", "best"), "'best' is not a selection; known: top-layers:K"),
        (("--select", "layers:9"), "layers:9 is impossible; give each layer once, from 0 to 3"),
        (("--select", "top-layers:1"), "top-layers:1 needs head scores; give those of the model"),
        (("--scores", "/no/such/folder"), "/no/such/folder"),
        (("--tasks", "caption,read"), "--tasks: Input should be 'caption' or 'vqa' (came: 'read')"),
        (("--tasks", ""), "--tasks: Input should be 'caption' or 'vqa' (came: '')"),
        (("--question-prompt", "what?"), "--question-prompt: the template lacks {question}"),
        (("--set", "use_doora=true"), "LORA has no setting use_doora; known: "),
        (("--set", "use_dora"), "--set: use_dora is not NAME=VALUE"),
        (("--set", "loftq_config={"), "--set: loftq_config={: the value is not YAML: "),
        (("--set", "target_modules=all-linear"), "settings.target_modules chooses modules"),
        (("--method", "LORAX"), "is called LORAX; known: LORA"),
        (("--targets", "q_proj,q_proj"), "--targets: name each item once, not q_proj, q_proj"),
        (("--dropout", "1"), "--dropout: Input should be less than 1"),
        (("--learning-rate", "0"), "--learning-rate: Input should be greater than 0"),
        (("--warmup", "1"), "--warmup: Input should be less than 1"),
        (("--mixed-precision", "fp16"), "--mixed-precision fp16 does not work on a CPU; give bf16 or no"),
        (("--patience", "2"), "--patience and --validation-split go together; give both or neither"),
        (("--validation-split", "test"), "--patience and --validation-split go together"),
        (("--device", "tpu9"), "device 'tpu9' cannot be used"),
        (("--revision", "main"), "--revision: a model on this machine has no revisions"),
        (("--model", "/no/such/model"), "there is no folder /no/such/model"),
        (("--split", "val"), "has the splits test, train; give one of them, not val"),
        (("--test-split", "val"), "has the splits test, train; give one of them, not val"),
        (("--forgetting-split", "val", "--forgetting", "DATA"), "give one of them, not val"),
        (("--validation-split", "val", "--patience", "1"), "give one of them, not val"),
        (("--data", "/no/such/folder"), "is not a folder, nor a dataset on the Hub"),
        (
            ("--prompt", "a <image> b", "--tasks", "caption"),
            "has no row for caption; the first row: the text has '<image>'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_is_one_line_before_a_folder_is_made(
    scenes: Path, tmp_path: Path, arguments: tuple[str, ...], reported: str
) -> None:
    given = [str(scenes) if one == "DATA" else one for one in arguments]
    code, shown, errors = run("tune", *MODEL, *QUICK, *ALL, "--data", scenes, "--out", tmp_path / "out", *given)
    assert_one_line(code, shown, errors, reported)
    assert not (tmp_path / "out").exists()


def assert_one_line(code: int, shown: str, errors: str, reported: str) -> None:
    assert (code, shown) == (1, "")
    [line] = [line for line in errors.splitlines() if "error: " in line]
    assert line == errors.splitlines()[-1]
    splits = sorted(re.findall(r"splits (\w+), (\w+);", line))
    assert reported in re.sub(
        r"splits (\w+), (\w+);", f"splits {', '.join(sorted(splits[0]))};" if splits else "", line
    )
    assert "Traceback" not in errors


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_a_missing_device_is_refused_before_rows_are_read(tmp_path: Path) -> None:
    code, shown, errors = run("tune", *MODEL, *ALL, "--data", "/none", "--device", "cuda", "--out", tmp_path / "out")
    assert_one_line(code, shown, errors, "CUDA cannot be used")


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("--shard", "3/2"), "--shard: give I/N, such as 1/4, with I from 1 to N (came: '3/2')"),
        (("--shard", "0/2"), "--shard: give I/N"),
        (("--shard", "2"), "--shard: give I/N"),
        (("--seeds", "0,-1"), "--seeds: Input should be greater than or equal to 0 (came: '-1')"),
        (("--seeds", "0,4294967296"), "--seeds: Input should be less than or equal to 4294967295"),
        (("--seeds", ""), "--seeds: Input should be a valid integer"),
        (("--seeds", "1,1"), "--seeds: name each item once, not 1, 1"),
        (("--select", "all"), "--select: name each item once, not all, all"),
        (("--select", "layers:1,0", "--select", "layers:0,1"), "select the same with seed 0; give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_shards_and_seeds_are_refused_before_rows_are_read(
    scenes: Path, tmp_path: Path, arguments: tuple[str, ...], reported: str
) -> None:
    code, shown, errors = run("compare", *MODEL, *ALL, "--data", scenes, "--out", tmp_path / "out", *arguments)
    assert_one_line(code, shown, errors, reported)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("--by", "ram:last"), "ram:last"),
        (("--by", "hi"), "hi"),
        (("--layer-score", "median"), "median"),
        (("--layer-score", "0"), "0"),
        (
            ("--select", "top-layers:9"),
            "top-layers:9: the model has 4 layers of 8 heads, so K must be from 1 to 2",
        ),
        (("--select", "top-heads:1", "--method", "LOHA"), "LOHA cannot be confined to heads"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_rankings_that_the_scores_do_not_give_are_refused(
    scenes: Path, scores: Path, tmp_path: Path, arguments: tuple[str, ...], reported: str
) -> None:
    options = ("--data", scenes, "--scores", scores, "--out", tmp_path / "out")
    code, shown, errors = run("tune", *MODEL, "--select", "top-layers:1", *options, *arguments)
    assert_one_line(code, shown, errors, reported)


def test_scores_of_another_model_are_refused(scenes: Path, scores: Path, tmp_path: Path) -> None:
    other = tmp_path / "scores"
    other.mkdir()
    for path in scores.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    facts = json.loads((other / "scores.json").read_bytes())
    facts["model"] |= {"id": "toyworld:other", "sha256": "0" * 64}
    (other / "scores.json").write_text(json.dumps(facts))
    options = ("--data", scenes, "--scores", other, "--out", tmp_path / "out")
    code, shown, errors = run("tune", *MODEL, "--select", "top-layers:1", *options)
    assert_one_line(code, shown, errors, f"the scores belong to toyworld:other ({'0' * 64}), the model is ")


def test_other_options_are_refused_and_results_stay(scenes: Path, tuned: tuple[Path, str]) -> None:
    out, _ = tuned
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    code, shown, errors = run("tune", *MODEL, *QUICK, *ALL, "--data", scenes, "--batch", "5", "--out", out)
    assert_one_line(code, shown, errors, f"{out} holds other results: training.batch is 4 there, 5 here; give another")
    code, shown, errors = run("compare", *MODEL, *QUICK, *ALL, "--data", scenes, "--batch", "4", "--out", out)
    assert_one_line(code, shown, errors, f"{out} holds files that `datasetkit compare` did not make")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("package", ["peft", "pycocoevalcap"])
def test_without_the_extra_the_line_says_how_to_get_it(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, shown, errors = run("tune", *MODEL, *ALL, "--data", scenes, "--out", tmp_path / "out")
    assert_one_line(code, shown, errors, f"tuning needs {package}, which does not work here")
    assert "[tune]'" in errors
