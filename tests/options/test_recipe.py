"""Recipes: every option checked, one line for every mistake, YAML there and back, nothing of the machine published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import RecipeError
from datasetkit.core.ledger import Drop, DropReason, NoticeKind, Tally
from datasetkit.core.limits import ImageLimits
from datasetkit.options import Recipe, recipe_yaml
from datasetkit.pipeline.splits import split_by_hash

FOLDER = {"source": {"name": "folder", "folder": "/data/images"}}
COCO = {"name": "coco", "images": "/data/train2017", "instances": "/data/i.json", "captions": "/data/c.json"}
FULL = {
    "source": {**COCO, "caption": "longest", "require_description": False},
    "splits": {"train": 0.9, "validation": 0.05, "test": 0.05},
    "key_max": 3,
    "license": "cc-by-4.0",
    "overlay": False,
    "limits": {"max_bytes": 1000, "max_pixels": 2000},
    "limit": 10,
    "part_size": 5,
}


def test_defaults() -> None:
    recipe = Recipe.checked(FOLDER)
    assert recipe.image_limits == ImageLimits()
    assert (recipe.splits, recipe.limit, recipe.part_size, recipe.overlay) == (None, None, 1000, True)


@pytest.mark.parametrize("value", [FOLDER, FULL, {"source": {"name": "toyworld", "count": 5}}])
def test_yaml_there_and_back(tmp_path: Path, value: dict[str, Any]) -> None:
    recipe = Recipe.checked(value)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_yaml(recipe.published()), encoding="utf-8")
    back = Recipe.read(path, tmp_path)
    assert back.published() == recipe.published()
    assert list(back.published()) == list(recipe.published())
    assert yaml.safe_load(path.read_text()) == recipe.published()


def test_relative_paths_start_where_the_caller_says(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("source: {name: coco, images: pics, captions: /abs/c.json}\n")
    source: Any = Recipe.read(path, Path("/root")).source
    assert (source.images, source.instances, source.captions) == (Path("/root/pics"), None, Path("/abs/c.json"))


def test_what_is_published_tells_nothing_of_the_machine() -> None:
    text = recipe_yaml(Recipe.checked(FULL).published())
    assert "/" not in text
    assert "images: train2017" in text


def splits(**shares: float) -> dict[str, Any]:
    return FOLDER | {"splits": shares}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "source: is required"),
        (FOLDER | {"colour": 1}, "colour: there is no such option; known: filters, grounding, key_max"),
        ({"source": {"name": "ftp"}}, "source: no source is called 'ftp'; known: coco, folder"),
        ({"source": {"folder": "x"}}, "source: name is required; known: coco, folder"),
        ({"source": 7}, "source"),
        ({"source": {"name": "folder"}}, "source.folder: is required"),
        ({"source": {"name": "folder", "folder": 7}}, "source.folder: "),
        ({"source": {**COCO, "caption": "best"}}, "'first', 'longest', 'all' or 'best-aligned' (came: 'best')"),
        ({"source": {**COCO, "instances": None, "captions": None}}, "source: give instances, captions or both"),
        ({"source": {"name": "toyworld", "count": 0}}, "greater than or equal to 1 (came: 0)"),
        (FOLDER | {"limit": 0}, "limit: Input should be greater than or equal to 1 (came: 0)"),
        (FOLDER | {"limit": "many"}, "limit: Input should be a valid integer"),
        (FOLDER | {"part_size": -1}, "part_size"),
        (FOLDER | {"license": " "}, "license: "),
        (FOLDER | {"key_max": 0}, "key_max"),
        (FOLDER | {"limits": {"max_pixels": 0}}, "limits.max_pixels"),
        (FOLDER | {"limits": {"max_pixels": 10**9}}, "limits.max_pixels: Input should be less than or equal to"),
        (FOLDER | {"limits": {"max_gold": 1}}, "limits.max_gold: there is no such option"),
        (splits(), "splits: shares [] add up to 0; give shares above 0 that add up to 1"),
        (splits(train=0.5), "give shares above 0 that add up to 1"),
        (splits(train=1.5, test=-0.5), "give shares above 0 that add up to 1"),
        (splits(train=1.0, test=0.0), "give shares above 0 that add up to 1"),
        (splits(train=float("nan"), test=1.0), "splits"),
        (splits(train=float("inf")), "splits"),
        (FOLDER | {"splits": {"my split": 1.0}}, "split name 'my split' must be letters, digits and _"),
        (FOLDER | {"splits": {"": 1.0}}, "split name ''"),
        (FOLDER | {"splits": {"../x": 1.0}}, "split name '../x'"),
        (FOLDER | {"splits": {1: 1.0}}, "splits"),
    ],
)
def test_a_mistake_is_named_in_one_line(value: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.checked(value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1, 2", "is not YAML"),
        (b"\xff\xfe\xfd", "is not YAML"),
        (b"- 1\n- 2", "contains a list; a recipe is a mapping of options"),
        (b"", "contains a NoneType"),
        (b"a: !!python/object/apply:os.system [ls]", "is not YAML"),
        (b"source: {name: folder, folder: x}\nlimit: 0", "limit"),
        (b"a: \0", "is not YAML"),
        (b"a: &a [*a", "is not YAML"),
    ],
)
def test_a_broken_recipe_file_is_named_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        Recipe.read(path, tmp_path)
    assert message in str(caught.value)
    assert "recipe.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.yaml does not exist$"):
        Recipe.read(tmp_path / "none.yaml", tmp_path)


HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
SHARES = {"train": 0.6, "validation": 0.3, "test": 0.1}


@given(HASHES, HASHES)
def test_a_split_follows_the_hash_alone(one: str, two: str) -> None:
    assert split_by_hash(one, SHARES) == split_by_hash(one[:13] + two[13:], SHARES)
    assert split_by_hash(one, {"only": 1.0}) == "only"


@pytest.mark.parametrize(
    ("digits", "split"),
    [("0", "train"), ("9999999999999", "train"), ("999999999999a", "validation"), ("f", "test"), ("e6", "test")],
)
def test_the_borders_of_splits(digits: str, split: str) -> None:
    assert split_by_hash(digits.ljust(64, digits[-1]), SHARES) == split


def test_shares_come_out_as_asked() -> None:
    hashes = [f"{-(-number * 2**52 // 10_000):013x}".ljust(64, "0") for number in range(10_000)]
    counts = {name: sum(split_by_hash(one, SHARES) == name for one in hashes) for name in SHARES}
    assert counts == {"train": 6000, "validation": 3000, "test": 1000}


def test_shares_slightly_below_one_drop_no_record() -> None:
    assert split_by_hash("f" * 64, {"a": 0.3, "b": 0.6999999}) == "b"


def tallies() -> st.SearchStrategy[Tally]:
    def make(read: list[int], drops: list[tuple[str, DropReason]], notices: list[NoticeKind]) -> Tally:
        tally = Tally()
        tally.kept.update({"record": read[0], "annotation": read[1]})
        for scope, reason in drops:
            tally.add_drop(Drop(scope, "1", reason, ""))
        for scope in ("record", "annotation"):
            tally.read[scope] = tally.kept[scope] + sum(tally.dropped[scope].values())
        tally.notices.update(notices)
        return tally

    drops = st.lists(st.tuples(st.sampled_from(["record", "annotation"]), st.sampled_from(DropReason)))
    numbers = st.lists(st.integers(0, 10**6), min_size=2, max_size=2)
    return st.builds(make, numbers, drops, st.lists(st.sampled_from(NoticeKind)))


@given(st.lists(tallies(), max_size=4))
def test_tallies_add_up_and_go_through_json(parts: list[Tally]) -> None:
    total = Tally()
    for part in parts:
        assert Tally.from_json(part.to_json()).to_json() == part.to_json()
        total.update(part)
    for scope in ("record", "annotation"):
        assert total.kept[scope] + sum(total.dropped[scope].values()) == total.read[scope]
        assert total.read[scope] == sum(part.read[scope] for part in parts)
        for reason in DropReason:
            assert total.dropped[scope][reason] == sum(part.dropped[scope][reason] for part in parts)
    assert sum(total.notices.values()) == sum(sum(part.notices.values()) for part in parts)


def test_every_reason_and_notice_is_explained() -> None:
    for member in (*DropReason, *NoticeKind):
        assert member.explanation
        assert "\n" not in member.explanation
    assert {reason for reason in DropReason if reason.may_pass_later} == {
        DropReason.MISSING,
        DropReason.EMPTY,
        DropReason.TRUNCATED,
        DropReason.NOT_AN_IMAGE,
        DropReason.UNREADABLE,
        DropReason.OUT_OF_MEMORY,
        DropReason.WORKER_DIED,
    }


@pytest.mark.parametrize(
    ("images", "instances", "published"),
    [
        ("/d/coco/train", "/d/coco/annotations/i.json", ("train", "annotations/i.json")),
        ("/d/coco/train", "/d/coco/i.json", ("train", "i.json")),
        ("/d/coco/train", "/e/i.json", ("train", "i.json")),
        ("../x/train", "../x/y/i.json", ("train", "y/i.json")),
    ],
)
def test_published_paths_keep_their_places_to_each_other(
    images: str, instances: str, published: tuple[str, str]
) -> None:
    source = {"name": "coco", "images": images, "instances": instances}
    found = Recipe.checked({"source": source}).published()["source"]
    assert (found["images"], found["instances"]) == published
