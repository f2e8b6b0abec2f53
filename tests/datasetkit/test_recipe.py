"""Recipes: YAML and back, one clear line for every mistake, nothing of the machine in what is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from datasetkit.errors import RecipeError
from datasetkit.images import ImageLimits
from datasetkit.recipe import Recipe, recipe_yaml

COCO = {"name": "coco", "images": "/data/train", "instances": "/data/instances.json"}
TOYWORLD = {"name": "toyworld"}


def parse(**options: Any) -> Recipe:
    return Recipe.parse({"source": TOYWORLD, **options}, "options")


def test_defaults() -> None:
    recipe = parse()
    assert recipe.image_limits == ImageLimits()
    assert recipe.published()["source"] == {
        "name": "toyworld",
        "count": 100,
        "scene_split": "train",
        "size_px": 384,
        "domain": "base",
    }


def test_published_paths_tell_nothing_of_the_machine() -> None:
    published = Recipe.parse({"source": COCO}, "options").published()
    assert published["source"]["images"] == "train"
    assert published["source"]["instances"] == "instances.json"
    assert published["source"]["captions"] is None
    assert "/" not in recipe_yaml(published)


def test_a_published_recipe_reads_back_to_itself(tmp_path: Path) -> None:
    recipe = Recipe.parse({"source": COCO, "splits": {"train": 0.9, "test": 0.1}, "license": "cc-by-4.0"}, "options")
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(recipe.published()), encoding="utf-8")
    again = Recipe.read(tmp_path / "recipe.yaml", tmp_path / "elsewhere")
    assert again.published() == recipe.published()
    assert list(again.published()["splits"]) == ["train", "test"]
    assert again.source.model_dump()["images"] == tmp_path / "elsewhere" / "train"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": {"name": "nowhere"}}, "source"),
        ({"source": {"name": "folder"}}, "source.folder.folder"),
        ({"source": {"name": "coco", "images": "x"}}, "coco needs instances, captions or both"),
        ({"source": {**COCO, "caption": "shortest"}}, "'shortest'"),
        ({"colour": "red"}, "colour"),
        ({"key_max": 0}, "greater than or equal to 1"),
        ({"part_size": 0}, "part_size"),
        ({"limit": -1}, "limit"),
        ({"limits": {"max_bytes": 0}}, "limits.max_bytes"),
        ({"splits": {}}, "add up to 1"),
        ({"splits": {"train": 0.5}}, "add up to 1"),
        ({"splits": {"train": 1.5, "test": -0.5}}, "must be positive"),
        ({"splits": {"../x": 1.0}}, "letters, digits and _"),
        ({"splits": {"train": float("nan")}}, "add up to 1"),
    ],
)
def test_mistakes_are_one_line_that_names_the_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse(**options)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("options: ")


@pytest.mark.parametrize("text", ["[1, 2", "- 1", "", "a: &a [*a", "\x00"])
def test_files_that_are_no_recipe(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        Recipe.read(tmp_path / "recipe.yaml", tmp_path)
    assert "\n" not in str(refused.value)


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("source: !!python/object/apply:os.getcwd []\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="is not YAML"):
        Recipe.read(tmp_path / "recipe.yaml", tmp_path)


def test_yaml_keeps_the_order_of_the_options() -> None:
    published = parse().published()
    assert list(yaml.safe_load(recipe_yaml(published))) == list(Recipe.model_fields)
