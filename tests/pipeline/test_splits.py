"""Exact shares: how many images each split has, that equal images stay together, and that bytes are reproducible."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from datasetkit.core.errors import RecipeError
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.reading import iter_rows
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from datasetkit.pipeline.splits import Cut, exact_counts
from tests.pipeline.builders import built, contents, folder_recipe, make_image, put
from tests.pipeline.sources import coco_of
from tests.pipeline.test_durability import StoppedError, image, published, stop_at

SHARES = {"train": 0.7, "test": 0.3}


@pytest.mark.parametrize(
    ("total", "shares", "expected"),
    [
        (60, {"train": 0.8, "test": 0.2}, [48, 12]),
        (10, {"train": 0.7, "validation": 0.15, "test": 0.15}, [7, 2, 1]),
        (7, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, [3, 2, 2]),
        (1, {"train": 0.4, "test": 0.6}, [0, 1]),
        (0, {"train": 0.4, "test": 0.6}, [0, 0]),
        (3, {"only": 1.0}, [3]),
        (10_000_000, {"a": 0.9999996, "b": 0.0000009}, [9_999_991, 9]),
    ],
)
def test_counts_go_to_the_largest_remainders(total: int, shares: dict[str, float], expected: list[int]) -> None:
    assert [*exact_counts(total, shares).values()] == expected


def test_sorted_hashes_are_divided_exactly() -> None:
    hashes = [f"{number * 7919 % 256:02x}{'0' * 62}" for number in range(60)]
    cut = Cut.of(hashes * 2, {"train": 0.8, "empty": 0.001, "test": 0.199})
    assert Counter(map(cut.split, hashes)) == {"train": 48, "test": 12}
    assert max(one for one in hashes if cut.split(one) == "train") < min(
        one for one in hashes if cut.split(one) == "test"
    )
    assert (cut.split("0" * 64), cut.split("f" * 64)) == ("train", "test")
    assert Cut.of([], {"a": 0.5, "b": 0.5}).split("f" * 64) == "a"


def images(folder: Path, numbers: range, *, first: int = 0) -> Path:
    """Write images with descriptions; every seventh is a copy of the one before it."""
    for number in numbers:
        seed = number - 1 if number % 7 == 6 else number
        put(folder, {f"{number + first:03d}.png": make_image(seed), f"{number + first:03d}.txt": f"a cat {number}"})
    return folder


def recipe_of(folder: Path) -> Recipe:
    return folder_recipe(folder, splits=SHARES, splits_exact=True, part_size=4, overlay=False)


def check_shares(out: Path) -> None:
    """Check that shares are exact by images, and that no image is in two splits."""
    split_of: dict[str, set[str]] = {}
    for shard, row in iter_rows(out, Manifest.read(out), ["source.sha256"]):
        split_of.setdefault(row["source"]["sha256"], set()).add(shard.split)
    assert all(len(splits) == 1 for splits in split_of.values())
    found = Counter(split for splits in split_of.values() for split in splits)
    assert found == exact_counts(len(split_of), SHARES)


def test_resumed_build_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    recipe = recipe_of(images(tmp_path / "in", range(14)))
    with pytest.raises(StoppedError):
        build(
            recipe,
            RunOptions(out=tmp_path / "out", workers=2),
            lambda step: step.stage == "building" and stop_at(6)(step),
        )
    built(recipe, tmp_path / "out")
    built(recipe, tmp_path / "anew")
    check_shares(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "anew")


@pytest.mark.parametrize("was_begun", [False, True])
def test_added_images_move_the_border(tmp_path: Path, *, was_begun: bool) -> None:
    folder, out = images(tmp_path / "in", range(14)), tmp_path / "out"
    if was_begun:  # parts of the former cut are there
        with pytest.raises(StoppedError):
            build(recipe_of(folder), RunOptions(out=out), lambda step: step.stage == "building" and stop_at(9)(step))
    else:
        built(recipe_of(folder), out)
    images(folder, range(14, 28))
    built(recipe_of(folder), out, update=True)
    built(recipe_of(folder), tmp_path / "anew")
    check_shares(out)
    assert published(out) == published(tmp_path / "anew")


def test_retry_divides_again_or_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    halves = {"train": 0.5, "test": 0.5}
    recipe, out = coco_of(tmp_path).model_copy(update={"splits": halves, "splits_exact": True}), tmp_path / "out"
    order = sorted(range(8), key=lambda number: hashlib.sha256(make_image(number)).hexdigest())
    for number in order[6:]:
        image(tmp_path, number).unlink()
    manifest, _ = built(recipe, out)
    assert manifest.split_rows == {"train": 3, "test": 3}
    before = published(out)
    for number in order[6:]:
        image(tmp_path, number).write_bytes(make_image(number))
    image(tmp_path, order[3]).unlink()  # of the test split; of the seven others, it would be in train
    built(recipe, out, retry_failed=True)
    assert "all parts are kept as they were" in caplog.text
    assert published(out) == before
    image(tmp_path, order[3]).write_bytes(make_image(order[3]))
    manifest, _ = built(recipe, out, retry_failed=True)
    assert manifest.split_rows == {"train": 4, "test": 4}
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


def test_exact_shares_need_shares(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="splits_exact needs shares; give splits"):
        folder_recipe(tmp_path, splits_exact=True)
