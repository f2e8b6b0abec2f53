"""Equal recipes give the shards that earlier versions gave, byte for byte.

A test here fails where published bytes change: then ``datasetkit.__version__`` must rise, and the digests with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pycocotools.mask
import pytest

from datasetkit.core.schema import row_schema
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.reading import iter_rows
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.compatibility.former import FORMER
from tests.pipeline.builders import (
    caption,
    coco_recipe,
    folder_recipe,
    image_entry,
    instance,
    make_image,
    put,
    write_coco,
)

COCO = {
    "data/train-00000-of-00001.parquet": "ece93fba6dbef238945207a47e27e2d89357da7fc8dd8344275372f228885db5",
    "data/test-00000-of-00001.parquet": "893a5aac001b5ea7d87b77a2304a461fdd653c7afe8cd190b9bcadfbf714164e",
}
FOLDER = {"data/train-00000-of-00001.parquet": "0549a7820fe495787348df31d39cda23019be3f16c307b7423e3fb3cad4098d3"}
SCORE_TOLERANCE = 1e-3  # models on other processors round otherwise, and thresholds lie between


def digests(recipe: Recipe, out: Path) -> dict[str, str]:
    return {shard.path: shard.sha256 for shard in build(recipe, RunOptions(out=out, workers=2)).shards}


def test_coco(tmp_path: Path) -> None:
    options = write_coco(
        tmp_path,
        [image_entry(number) for number in range(6)],
        [instance(10 + number, number % 5, category_id=(17, 18)[number % 2]) for number in range(8)],
        [caption(20, 0), caption(21, 1, "two dogs and a cat"), caption(22, 2, "an old dog"), caption(23, 4)],
    ) | {"require_description": True}  # as was the default of 0.1
    recipe = coco_recipe(options, part_size=3, splits={"train": 0.5, "test": 0.5}, license="cc-by-4.0")
    assert digests(recipe, tmp_path / "out") == COCO


def test_folder(tmp_path: Path) -> None:
    lines = [{"file_name": f"{number}.png", "text": f"Picture {number}: a red bus."} for number in range(3)]
    folder = put(tmp_path / "images", {f"{number}.png": make_image(number) for number in range(3)})
    put(folder, {"metadata.jsonl": "".join(json.dumps(line) + "\n" for line in lines)})
    assert digests(folder_recipe(folder), tmp_path / "out") == FOLDER


def test_toyworld_with_models(tmp_path: Path) -> None:
    found = FORMER / "found"
    recipe = Recipe.read(found / "recipe.yaml", tmp_path)
    manifest = build(recipe, RunOptions(out=tmp_path / "out", workers=2))
    assert manifest.split_rows == Manifest.read(found).split_rows
    rows, former = ([row for _, row in iter_rows(out, Manifest.read(out))] for out in (tmp_path / "out", found))
    assert_alike(list(map(as_schema_1, rows)), former)


def as_schema_1(row: dict[str, Any]) -> dict[str, Any]:
    """Take out what rows of schema 1.0 did not have."""
    older = row_schema(version="1.0", overlay="overlay" in row)
    values: dict[str, Any] = pa.Table.from_pylist([row], schema=older).to_pylist()[0]
    return values


def assert_alike(here: Any, there: Any) -> None:
    """Equal but for the rounding of scores, and for what hangs on it: boxes by a pixel, masks along their outlines."""
    assert type(here) is type(there)
    if isinstance(here, dict) and here.keys() == {"size", "counts"}:
        masks = [pycocotools.mask.decode(mask).astype(bool) for mask in (here, there)]
        assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() > 0.98
    elif isinstance(here, dict):
        assert here.keys() == there.keys()
        for name in here.keys() - {"bbox", "area", "salience"}:
            assert_alike(here[name], there[name])
    elif isinstance(here, list):
        assert len(here) == len(there)
        for one, other in zip(here, there, strict=True):
            assert_alike(one, other)
    elif isinstance(here, float):
        assert here == pytest.approx(there, abs=SCORE_TOLERANCE)
    else:
        assert here == there


def test_alike_is_not_equal_to_everything() -> None:
    mask = np.zeros((20, 20), dtype=np.uint8, order="F")
    mask[2:18, 2:18] = 1
    smaller = mask.copy(order="F")
    smaller[2:4] = 0
    assert_alike(pycocotools.mask.encode(mask), pycocotools.mask.encode(mask))
    for here, there in (
        (pycocotools.mask.encode(mask), pycocotools.mask.encode(smaller)),
        ([{"score": 0.5}], [{"score": 0.51}]),
        ([{"text": "a"}], [{"text": "b"}]),
        ([1], [1, 2]),
    ):
        with pytest.raises(AssertionError):
            assert_alike(here, there)
