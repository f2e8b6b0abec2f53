"""Builds with models: presets, one-line errors, and the description of the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.core.ledger import DropReason
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.toyworld.domain import BASE
from tests.core.images import encode, noise
from tests.pipeline.builders import caption, check_account, image_entry, instance, put, records, write_coco

pytestmark = pytest.mark.slow

RUN = CliRunner()
TINY = ("--size-px", 64, "--count", 3, "--scene-split", "test", "--no-overlay")
ON_CPU = ("--device", "cpu")
SCENES_ONLY = (
    "warning: the toyworld models were trained on rendered scenes only; their output for other images is meaningless\n"
)


@pytest.fixture(scope="module", autouse=True)
def _neither_plots_nor_network() -> Iterator[None]:
    """Skip plots, which take longer than the rest of a small build."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


def run(*arguments: object) -> tuple[int, str, str]:
    result = RUN.invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def data(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "out"
    code, shown, errors = run("build", "toyworld", *TINY, *ON_CPU, "--out", out)
    assert code == 0
    assert "records      read 3, kept 3 (test 3)" in shown
    assert "masks of the source by masks of the models" in shown
    assert "warning" not in errors
    check_account(out)
    return out


@pytest.fixture
def coco(tmp_path: Path) -> list[object]:
    """The options of a set of two images with captions and human masks."""
    entries = [image_entry(number, height=64, width=64) for number in (1, 2)]
    options = write_coco(
        tmp_path / "in",
        entries,
        [instance(1, 1), instance(2, 2)],
        [caption(1, 1, "a red star"), caption(2, 2, "a cat")],
        image_files={f"{number}.png": encode(noise((64, 64), number), "PNG") for number in (1, 2)},
    )
    return [
        "coco",
        "--images",
        options["images"],
        "--instances",
        options["instances"],
        "--captions",
        options["captions"],
    ]


def test_scenes_are_built_by_the_shipped_models(scenes: Path) -> None:
    manifest = Manifest.read(scenes)
    assert [model.id for model in manifest.models] == ["toyworld:detector", "toyworld:segmenter"]
    assert manifest.tally.kept["annotation"] == 0
    assert manifest.tally.kept["detection"] >= 3
    categories = {item.category for record in records(scenes).values() for item in record.objects}
    assert categories - {None} <= {noun.singular for noun in BASE.vocabulary.shapes.values()}
    assert categories - {None}


@pytest.mark.parametrize(
    "given", [("--device", "cpu"), ("--captioner-batch", "1"), ("--detector-batch", "2"), ("--segmenter-batch", "3")]
)
@pytest.mark.parametrize("kind", ["coco", "none", "recipe"])
def test_model_options_without_models_are_refused(
    tmp_path: Path, coco: list[object], given: tuple[str, str], kind: str
) -> None:
    recipe = put(tmp_path, {"recipe.yaml": "source: {name: toyworld, count: 1}\n"}) / "recipe.yaml"
    command = {"coco": coco, "none": ["toyworld", "--preset", "none"], "recipe": ["recipe", recipe]}[kind]
    code, shown, errors = run("build", *command, *given, "--out", tmp_path / "out")
    assert (code, shown, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"error: {' '.join(given)} is an option of models, but there are none; leave it out")
    assert not (tmp_path / "out").exists()


def test_preset_none_keeps_exact_masks(tmp_path: Path) -> None:
    code, shown, _ = run("build", "toyworld", *TINY, "--preset", "none", "--out", tmp_path / "out")
    assert code == 0
    assert "detections" not in shown
    manifest = Manifest.read(tmp_path / "out")
    assert manifest.models == ()
    assert manifest.tally.kept["annotation"] == manifest.tally.read["annotation"] > 3
    for record in records(tmp_path / "out").values():
        assert all(item.scores.detection is None for item in record.objects)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "toyworld:detector" not in card


SCENES = ("toyworld", *TINY)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ((*SCENES, "--set", "detector.scoremin=.4"), ["error: detector.scoremin: ", "mean detector.score_min?"]),
        ((*SCENES, "--set", "detector.score_min=4"), ["detector", "score_min", "less than or equal to 1", "came: 4"]),
        ((*SCENES, "--set", "detector.score_min"), ["--set: detector.score_min is not NAME=VALUE"]),
        ((*SCENES, "--set", "links.margin=[1"), ["links.margin=[1: the value is not YAML"]),
        ((*SCENES, "--set", "dtype.x=1"), ["dtype"]),
        ((*SCENES, "--set", "links=3"), ["error: links: ", "came: 3"]),
        ((*SCENES, "--preset", "none", "--set", "links.margin=.2"), ["links.margin", "give --preset"]),
        ((*SCENES, "--preset", "none", "--detector", "x/y"), ["detector.model", "give --preset"]),
        ((*SCENES, "--preset", "groundedsam"), ["'groundedsam'", "known presets: grounded-sam, toyworld"]),
        ((*SCENES, "--device", "gpu"), ["device 'gpu' cannot be used", "give auto or cpu"]),
        ((*SCENES, "--set", "dtype=float8"), ["error: dtype: ", "float32", "came: 'float8'"]),
        ((*SCENES, "--detector", "./nowhere"), ["there is no folder ./nowhere"]),
        ((*SCENES, "--detector", "toyworld:detectr"), ["toyworld:detectr", "known: toyworld:detector"]),
        ((*SCENES, "--detector", "toyworld:segmenter"), ["is a model of type sam", "grounding-dino"]),
        ((*SCENES, "--segmenter", "nobody/nothing"), ["nobody/nothing is not on this machine, and HF_HUB_OFFLINE"]),
    ],
    ids=lambda value: "-".join(map(str, value[len(SCENES) :])) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_models_cannot_do_is_one_line(arguments: tuple[object, ...], messages: list[str], tmp_path: Path) -> None:
    code, shown, errors = run("build", *arguments, "--out", tmp_path / "out")
    assert (code, shown) == (1, "")
    for message in messages:
        assert message in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--relabel"], "choose models with --preset"),
        (["--relabel", "--preset", "none"], "choose models with --preset"),
        (["--preset", "toyworld"], "add --relabel if that is intended"),
        (["--set", "links.margin=.2"], "give --preset"),
    ],
)
def test_human_masks_are_not_lost_by_accident(
    coco: list[object], more: list[str], message: str, tmp_path: Path
) -> None:
    code, _, errors = run("build", *coco, *more, "--out", tmp_path / "out")
    assert code == 1
    *before, last = errors.splitlines()
    assert last.startswith("error: ")
    assert message in last
    assert before in ([], [SCENES_ONLY.rstrip()])
    assert not (tmp_path / "out").exists()


def test_relabelled_photographs_are_warned_about(coco: list[object], tmp_path: Path) -> None:
    arguments = ("build", *coco, "--relabel", "--preset", "toyworld", "--device", "cpu", "--out", tmp_path / "out")
    code, shown, errors = run(*arguments)
    assert code == 0
    assert errors.startswith(SCENES_ONLY)
    assert "replaced     2 masks of the source by masks of the models" in shown
    assert "no annotation was kept" not in errors
    check_account(tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()]
    gave_way = [line for line in lines if line.get("reason") == DropReason.RELABELLED]
    assert sorted(line["id"] for line in gave_way) == ["1", "2"]
    assert "rendered scenes" in (tmp_path / "out" / "README.md").read_text()


def test_human_masks_stay_without_a_preset(coco: list[object], tmp_path: Path) -> None:
    code, shown, errors = run("build", *coco, "--out", tmp_path / "out")
    assert code == 0
    assert "warning" not in errors
    assert "annotations  read 2, kept 2" in shown
    assert "hint" not in shown


def test_a_folder_without_models_is_told_of_them(tmp_path: Path) -> None:
    put(tmp_path / "in", {"1.png": encode(noise((64, 64), 1), "PNG"), "metadata.csv": "file_name,text\n1.png,a cat\n"})
    code, shown, errors = run("build", "folder", tmp_path / "in", "--out", tmp_path / "out")
    assert code == 0
    assert "warning" not in errors
    assert "hint         there are no objects; --preset" in shown
    again = (
        "build",
        "folder",
        tmp_path / "in",
        "--preset",
        "toyworld",
        "--device",
        "cpu",
        "--out",
        tmp_path / "models",
    )
    code, shown, errors = run(*again)
    assert code == 0
    assert errors.startswith(SCENES_ONLY)
    assert "hint" not in shown


def test_a_stored_recipe_builds_the_same_bytes(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert run("build", "recipe", scenes / "recipe.yaml", "--device", "cpu", "--out", out)[0] == 0
    assert data(out) == data(scenes)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--set", "detector.score_min=.35"], ["detector", "score_min"]),
        (["--set", "links.margin=.2"], ["links", "margin"]),
        (["--preset", "none"], ["grounding"]),
    ],
)
def test_other_thresholds_in_the_same_place_are_refused_by_name(
    scenes: Path, more: list[str], named: list[str]
) -> None:
    before = data(scenes)
    code, _, errors = run("build", "toyworld", *TINY, *more, "--out", scenes)
    assert code == 1
    assert errors.startswith("error: ")
    assert "--overwrite" in errors
    assert errors.count("\n") == 1
    for name in named:
        assert name in errors
    assert data(scenes) == before


def test_options_over_a_preset_are_in_recipe_and_card(tmp_path: Path) -> None:
    more = ("--set", "detector.score_min=.45", "--set", "duplicates.groups=keep", "--set", "cleaning=null")
    assert run("build", "toyworld", *TINY, *ON_CPU, *more, "--out", tmp_path / "out")[0] == 0
    grounding = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["grounding"]
    assert grounding["detector"]["score_min"] == 0.45
    assert grounding["duplicates"] == {
        "mask_iou": 0.8,
        "containment": 0.9,
        "group_members": 2,
        "groups": "keep",
    }
    assert grounding["cleaning"] is None
    scores = [item.scores for record in records(tmp_path / "out").values() for item in record.objects]
    assert scores
    assert all(item.cleaning_iou is None and (item.detection or 0) >= 0.45 for item in scores)
    assert "| 0.45 |" in (tmp_path / "out" / "README.md").read_text()


def test_the_card_has_models_and_thresholds_but_no_local_path(tmp_path: Path) -> None:
    from datasetkit.runtime.checkpoints import resolve

    folder = tmp_path / "secret" / "mine"
    folder.mkdir(parents=True)
    for file in Path(resolve("toyworld:detector")).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    out = tmp_path / "out"
    assert run("build", "toyworld", *TINY, *ON_CPU, "--detector", folder, "--out", out)[0] == 0
    manifest = Manifest.read(out)
    assert [model.id for model in manifest.models] == ["mine", "toyworld:segmenter"]
    assert all(model.sha256 and len(model.sha256) == 64 for model in manifest.models)
    card = (out / "README.md").read_text()
    for named in ("mine", "toyworld:segmenter", manifest.models[0].sha256[:12], "detector.score_min", "links.margin"):
        assert named in card
    for name, content in data(out).items():
        assert b"secret" not in content, name
        assert str(tmp_path).encode() not in content, name
