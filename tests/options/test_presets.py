"""Presets: complete, pinned, open to single changes; nothing of the machine in what is published of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import RecipeError, UnknownNameError
from datasetkit.options import GroundingOptions, Recipe, recipe_yaml
from datasetkit.options.build import ModelOptions
from datasetkit.options.presets import NAMES, preset


def options(name: str = "toyworld", **changes: Any) -> GroundingOptions:
    return GroundingOptions.model_validate(preset(name, {key.replace("__", "."): v for key, v in changes.items()}))


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_complete_and_pinned(name: str) -> None:
    found = options(name)
    assert found.segmenter is not None
    for part in (found.captioner, found.detector, found.segmenter):
        assert part.model.startswith("toyworld:") or len(part.revision) == 40


def test_single_options_go_over_a_preset() -> None:
    found = options(detector__score_min=0.11, links__margin=0.2, dtype="bfloat16", cleaning__smooth_px=2)
    assert (found.detector.score_min, found.links.margin, found.dtype) == (0.11, 0.2, "bfloat16")
    assert found.cleaning is not None
    assert found.cleaning.smooth_px == 2
    assert options().detector.score_min != 0.11


def test_another_kind_of_model_drops_the_former_options() -> None:
    found = options("grounded-sam", detector__model="google/owlv2-base-patch16", detector__name="owlv2")
    assert found.detector.model_dump() == {
        "model": "google/owlv2-base-patch16",
        "revision": None,
        "name": "owlv2",
        "score_min": 0.2,
    }


def test_a_part_can_be_switched_off_and_on() -> None:
    assert options(cleaning=None).cleaning is None
    assert options(similarity__model="openai/clip-vit-base-patch32").similarity is not None


def test_a_file_is_a_preset_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("detector: {name: grounding-dino, model: a/b}\nsegmenter: {name: sam, model: c/d}\n")
    assert options(str(path)).detector.model == "a/b"


@pytest.mark.parametrize(
    ("text", "error"),
    [("- a", "contains a list"), ("a: [", "is not YAML")],
)
def test_files_that_are_no_presets_are_refused(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=error):
        preset(str(path), {})


def test_unknown_presets_and_options_are_named() -> None:
    with pytest.raises(UnknownNameError, match="known presets: grounded-sam, toyworld"):
        preset("grounded-som", {})
    with pytest.raises(RecipeError, match="holds a value"):
        preset("toyworld", {"detector.model.name": "x"})
    value = {"source": {"name": "toyworld"}, "grounding": preset("toyworld", {"detector.score_mim": 0.1})}
    with pytest.raises(RecipeError, match=r"detector.*score_mim"):
        Recipe.checked(value)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"segmenter": None}, "name a segmenter"),
        ({"detector.name": "sam3", "detector.model": "facebook/sam3"}, "leave the segmenter out"),
        ({"detector.score_min": 1.5}, "less than or equal to 1"),
        ({"detector": None}, "leave the segmenter out"),
        ({"detector": None, "segmenter": None, "captioner.name": "given"}, "captioner given writes none"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], error: str) -> None:
    value = {"source": {"name": "toyworld"}, "grounding": preset("toyworld", changes)}
    with pytest.raises(RecipeError, match=error):
        Recipe.checked(value)


def test_local_models_are_published_by_name_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "my-detector"
    folder.mkdir(parents=True)
    weights = folder.parent / "sam.pth"
    weights.touch()
    changes = {"detector.model": str(folder), "segmenter.name": "segment-anything", "segmenter.weights": str(weights)}
    value = {"source": {"name": "toyworld"}, "grounding": preset("toyworld", changes)}
    text = recipe_yaml(Recipe.checked(value).published())
    assert str(tmp_path) not in text
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    found: Any = Recipe.read(path, folder.parent).grounding
    assert (found.detector.model, found.segmenter.weights) == (str(folder), weights)
    assert found.captioner.model == "toyworld:vlm"


def test_the_models_of_a_preset_are_named_with_their_commits() -> None:
    found = {one.part: one for one in options("grounded-sam").checkpoints()}
    assert list(found) == ["captioner", "detector", "segmenter"]
    assert all(len(one.revision or "") == 40 and one.has_weights and one.local is None for one in found.values())
    assert all(one.local is not None for one in options("toyworld").checkpoints())


def test_a_text_encoder_is_fetched_without_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "dino.pth"
    changes = {"detector__name": "groundingdino-py", "detector__weights": str(weights), "captioner__name": "given"}
    file, encoder, _ = options("grounded-sam", **changes).checkpoints()
    assert (file.id, file.local) == (str(weights), weights)
    assert (encoder.id, encoder.has_weights) == ("google-bert/bert-base-uncased", False)


def test_models_are_taken_from_folders_without_a_revision(tmp_path: Path) -> None:
    before = options("grounded-sam")
    captioner, *_ = before.checkpoints()
    after: Any = before.with_folders({captioner: tmp_path})
    assert (after.captioner.model, after.captioner.revision) == (str(tmp_path), None)
    assert (after.detector, after.segmenter) == (before.detector, before.segmenter)


@pytest.mark.parametrize("extension", ["recipe", "preset"])
def test_a_recipe_is_taken_as_a_preset(tmp_path: Path, extension: str) -> None:
    grounding = preset("grounded-sam", {"links.margin": 0.2})
    path = tmp_path / f"{extension}.yaml"
    path.write_text(recipe_yaml({"source": {}, "grounding": grounding} if extension == "recipe" else grounding))
    assert preset(str(path), {}) == grounding
    path.write_text("source: {}\ngrounding: null\n")
    with pytest.raises(RecipeError, match="is a recipe without models"):
        preset(str(path), {})


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({}, "--preset toyworld"),
        ({"preset": "my models.yaml"}, "--preset 'my models.yaml'"),
        ({"caption_with": "grounded-sam"}, "--caption-with grounded-sam"),
        (
            {"preset": "grounded-sam", "captioner": "org/other", "set": {"detector.name": "owlv2"}},
            "--preset grounded-sam --captioner org/other --set 'detector.name=\"owlv2\"'",
        ),
    ],
)
def test_the_command_that_fetches_names_the_same_models(given: dict[str, Any], command: str) -> None:
    options = ModelOptions.checked(given)
    assert options.fetch_command("toyworld") == f"datasetkit models fetch {command}"
    typed = shlex.split(command)
    chosen = typed[typed.index("--set") + 1] if "--set" in typed else None
    assert chosen is None or ModelOptions.checked({"set": [chosen]}).set == options.set
