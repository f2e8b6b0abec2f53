"""What versions 0.1.0 and 0.2.0 made opens, verifies, pushes, scores, and counts as complete for its commands."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pycocotools.mask
import pytest
import torch
from click.testing import CliRunner
from peft import PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText

import datasetkit.hi_scoring.model.subject
import datasetkit.pipeline.build
from datasetkit.cli import app
from datasetkit.core.rows import row_image
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import Progress, build
from datasetkit.runtime.checkpoints import resolve
from tests.compatibility.former import FORMER, HUMAN_MASKS, ODD_PIXELS, copied
from tests.hub.server import HubServer
from tests.pipeline.builders import contents

pytestmark = pytest.mark.slow

WHOLE = ("build", "toyworld", "--preset", "none", "--size-px", 64, "--no-overlay", "--count", 6, "--part-size", 1)
SCENES = (
    *("build", "toyworld", "--preset", "none", "--size-px", 128, "--no-overlay"),
    *("--count", 4, "--splits", "train=.5,test=.5"),
)
FOUND = ("build", "toyworld", "--preset", "toyworld", "--size-px", 128, "--no-overlay", "--count", 2)
ON_SCENES = ("--model", "toyworld:vlm", "--data", FORMER / "scenes", "--device", "cpu")
BY_SCORES = ("--scores", FORMER / "scores", "--tasks", "vqa")
PAGES = {"report.html", "comparison.md"}  # written anew from the results, whenever a command ends
RUNS = {
    "scores": ("score", *ON_SCENES, "--limit", 2),
    "knockouts": (
        *("knockout", *ON_SCENES, "--split", "test", "--limit", 1, "--window", 1),
        *("--flows", "image->question,question->last"),
    ),
    "ablated": (
        *("ablate", *ON_SCENES, *BY_SCORES, "--limit", 1, "--by", "hi:response"),
        *("--modes", "zero", "--doses", ".05", "--draws", 2),
    ),
    "sparse": ("sparsify", *ON_SCENES, *BY_SCORES, "--limit", 1, "--window", 8, "--draws", 1),
    "comparison": (
        *("compare", *ON_SCENES, *BY_SCORES, "--limit", 4, "--test", FORMER / "scenes", "--test-limit", 1),
        *("--select", "top-layers:1", "--select", "bottom-layers:1", "--seeds", 0),
        *("--steps", 1, "--batch", 2, "--rank", 1, "--targets", "q_proj"),
    ),
}


VERSIONED = (datasetkit, datasetkit.pipeline.build, datasetkit.hi_scoring.model.subject)


@pytest.fixture
def same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no published byte had changed since: what goes on then is what the rest of a record allows."""
    for module in VERSIONED:
        monkeypatch.setattr(module, "__version__", "0.1.0")
    monkeypatch.setattr(datasetkit.pipeline.build, "SCHEMA_VERSION", "1.0")


@pytest.fixture(scope="module")
def anew(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the build that was cut short, as they are made in one go."""
    out = tmp_path_factory.mktemp("anew") / "out"
    run(*WHOLE, "--out", out)
    return contents(out)


@pytest.fixture
def cut_short(tmp_path: Path) -> Path:
    """A build of today that was cut short after its first part."""

    def interrupt(progress: Progress) -> None:
        if progress.stage == "building" and progress.done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "cut-short"
    with pytest.raises(KeyboardInterrupt):
        build(Recipe.read(FORMER / "whole" / "recipe.yaml", tmp_path), RunOptions(out=out, workers=1), interrupt)
    return out


@pytest.mark.parametrize(("name", "command"), [("whole", WHOLE), ("cut-short", WHOLE)])
def test_another_version_goes_on_with_no_build_and_says_so(
    name: str, command: tuple[object, ...], tmp_path: Path
) -> None:
    out = copied(name, tmp_path)
    before = contents(out)
    result = CliRunner().invoke(app, [*map(str, command), "--out", str(out)])
    assert result.exit_code == 1
    assert "rows of schema 1.0 there, 2.0 here" in result.stderr
    assert contents(out) == before


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def changed_at(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "folder",
    [FORMER / "scenes", FORMER / "found", FORMER / "whole", HUMAN_MASKS / "given", ODD_PIXELS],
    ids=lambda path: path.name,
)
def test_datasets_open_and_verify(folder: Path) -> None:
    assert run("verify", folder).endswith("is sound\n")
    splits = datasets.load_dataset(str(folder))
    rows = [row for split in splits.values() for row in split]
    assert len(rows) == sum(json.loads((folder / "manifest.json").read_bytes())["splits"].values()) > 0
    for row in rows:
        shaped = [item for item in row["objects"] if item["mask"] is not None]
        assert all(pycocotools.mask.decode(item["mask"]).sum() == item["area"] for item in shaped)
        assert all(row["description"][item["start"] : item["end"]] == item["text"] for item in row["phrases"])


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_pixels_published_unchanged_are_decoded_as_then() -> None:
    for row in datasets.load_dataset(str(ODD_PIXELS), split="train"):
        image = row["image"]
        if image.mode == "I;16":
            expected = (np.asarray(image).astype(int)[..., None] + 128) // 257
        else:
            alpha = np.asarray(image.convert("RGBA")).astype(float)[..., 3:] / 255
            expected = np.rint(np.asarray(image.convert("RGB")) * alpha + 255 * (1 - alpha))
        found = row_image(row)
        assert np.abs(np.asarray(found).astype(int) - expected).max() <= 1
        assert row_image(row | {"image": {"bytes": encoded(image), "path": "a"}}).tobytes() == found.tobytes()


@pytest.mark.parametrize(("name", "command"), [("scenes", SCENES), ("found", FOUND), ("whole", WHOLE)])
@pytest.mark.usefixtures("same_version")
def test_a_finished_build_is_complete(name: str, command: tuple[object, ...], tmp_path: Path) -> None:
    out = copied(name, tmp_path)
    before = contents(out), changed_at(out)
    shown = run(*command, "--out", out)
    assert f"wrote        {out}" in shown
    assert (contents(out), changed_at(out)) == before


@pytest.mark.parametrize(("folder", "rows"), [(FORMER / "scenes", 1), (HUMAN_MASKS / "given", 4), (ODD_PIXELS, 3)])
def test_a_dataset_is_pushed(hub: HubServer, folder: Path, rows: int, tmp_path: Path) -> None:
    out = shutil.copytree(folder, tmp_path / "out")
    run("push", out, "user/former")
    assert run("verify", "user/former") == "user/former is sound\n"
    assert datasets.load_dataset("user/former", split="train").num_rows == rows


def test_human_masks_are_scored_as_before(tmp_path: Path) -> None:
    data = HUMAN_MASKS / "given"
    run("score", "--model", "toyworld:vlm", "--device", "cpu", "--data", data, "--limit", 2, "--out", tmp_path / "out")
    former, now = HeadScores.load(HUMAN_MASKS / "scores"), HeadScores.load(tmp_path / "out")
    for name in ("hi", "ram"):
        np.testing.assert_allclose(now.mean(name, "response"), former.mean(name, "response"), atol=1e-4)


def without(path: Path, *names: str) -> None:
    """Take options out of a JSON file, as if they had come later."""
    value = json.loads(path.read_bytes())
    for name in names:
        *groups, last = name.split(".")
        place = value
        for group in groups:
            place = place[group]
        del place[last]
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("name", "command", "options"),
    [
        ("scenes", SCENES, ("recipe.source.domain", "recipe.limits", "recipe.limit", "recipe.part_size")),
        ("found", FOUND, ("recipe.grounding.links.margin", "recipe.grounding.similarity", "recipe.grounding.dtype")),
    ],
)
@pytest.mark.usefixtures("same_version")
def test_options_that_came_later_make_no_other_build(
    name: str, command: tuple[object, ...], options: tuple[str, ...], tmp_path: Path
) -> None:
    out = copied(name, tmp_path)
    without(out / "manifest.json", *options)
    before = contents(out)
    run(*command, "--out", out)
    assert contents(out) == before


def test_a_build_cut_short_before_an_option_came_goes_on(anew: dict[str, bytes], cut_short: Path) -> None:
    without(cut_short / ".build" / "state.json", "recipe.source.domain", "recipe.key_max")
    run(*WHOLE, "--out", cut_short)
    assert contents(cut_short) == anew


@pytest.mark.parametrize("changes", [{"index": True}, {"index": 7}, {"shards": None}, {"tally": {}}])
def test_a_part_whose_marker_is_damaged_is_built_again(
    anew: dict[str, bytes], cut_short: Path, changes: dict[str, object]
) -> None:
    marker = cut_short / ".build" / "part-00000.json"
    marker.write_text(json.dumps(json.loads(marker.read_bytes()) | changes))
    run(*WHOLE, "--out", cut_short)
    assert contents(cut_short) == anew


@pytest.mark.parametrize("recipe", [None, 3, "x", []])
def test_a_record_of_a_build_that_is_damaged_is_refused(recipe: object, tmp_path: Path) -> None:
    out = copied("cut-short", tmp_path)
    state = out / ".build" / "state.json"
    state.write_text(json.dumps(json.loads(state.read_bytes()) | {"recipe": recipe}))
    result = CliRunner().invoke(app, [*map(str, WHOLE), "--out", str(out)])
    assert result.exit_code == 1
    why = "contains no build that can be resumed (the recipe must be a mapping of options)"
    assert result.stderr.startswith(f"error: {out} {why}")


def test_the_card_of_a_build_that_lacks_options_is_written(tmp_path: Path) -> None:
    out = copied("scenes", tmp_path)
    before = (out / "README.md").read_text(encoding="utf-8").splitlines()
    without(out / "manifest.json", "recipe.key_max", "recipe.limit", "recipe.splits")
    run("card", out)
    after = (out / "README.md").read_text(encoding="utf-8").splitlines()
    assert {"key_max: null", "limit: null", "splits:"} <= set(before) - set(after)
    assert any(line.startswith("- The splits are the source's own") for line in set(after) - set(before))
    assert not any("provenance" in line for line in after), "rows of schema 1.0 have no such column"
    run(*SCENES, "--limit", 2, "--overwrite", "--out", out)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scores", ("options.coverage_min", "options.convention")),
        ("knockouts", ("options.seed", "options.only_correct", "model.revision", "data.revision")),
        ("ablated", ("texts.question_prompt", "writing.answer_tokens")),
        ("sparse", ("scores.options.coverage_min", "options.sink", "texts.prompt")),
        ("comparison", ("scores.options.quantile", "training.clip", "adapter.dropout", "writing.caption_tokens")),
    ],
)
@pytest.mark.usefixtures("same_version")
def test_options_that_came_later_make_no_other_results(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    out = copied(name, tmp_path)
    without(out / "run.json", *options)
    before = {path: data for path, data in contents(out).items() if path not in PAGES}
    run(*RUNS[name], "--out", out)
    assert {path: data for path, data in contents(out).items() if path not in PAGES} == before


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("same_version")
def test_finished_results_are_complete(name: str, tmp_path: Path) -> None:
    out = copied(name, tmp_path)
    before = {path: data for path, data in contents(out).items() if path not in PAGES}
    run(*RUNS[name], "--out", out)
    assert {path: data for path, data in contents(out).items() if path not in PAGES} == before


def test_another_version_goes_on_with_no_scores(tmp_path: Path) -> None:
    out = copied("scores", tmp_path)
    before = contents(out)
    result = CliRunner().invoke(app, [*map(str, RUNS["scores"]), "--out", str(out)])
    assert result.exit_code == 1
    assert f'versions.datasetkit is "0.1.0" there, "{datasetkit.__version__}" here' in result.stderr
    assert contents(out) == before


def test_scores_load() -> None:
    scores = HeadScores.load(FORMER / "scores")
    assert scores.shape == (4, 8)
    assert len(scores.top(3)) == 3


def test_results_join_into_a_report(tmp_path: Path) -> None:
    run("report", *(FORMER / name for name in RUNS), "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(command[0] in page for command in RUNS.values())


@pytest.mark.parametrize(
    "folder", [FORMER / "comparison" / "cells" / "top-layers-1--seed-0" / "adapter", HUMAN_MASKS / "adapter"]
)
def test_an_adapter_loads(folder: Path) -> None:
    base = AutoModelForImageTextToText.from_pretrained(resolve("toyworld:vlm"), dtype="float32")
    before = {name: value.clone() for name, value in base.state_dict().items()}
    merged = PeftModel.from_pretrained(base, folder).merge_and_unload()
    changed = {name for name, value in merged.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"model.language_model.layers.{layer_of(folder)}.self_attn.q_proj.weight"}


def layer_of(folder: Path) -> int:
    facts = json.loads((folder / "adapter.json").read_bytes())
    (layer,) = facts["selection"]["layers"]
    return int(layer)
