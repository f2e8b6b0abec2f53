"""Built folders that the tests of all formats share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.export.folders import bare_record, record, rows_of, write_folder
from tests.pipeline.builders import coco_recipe


@pytest.fixture(scope="session")
def mini(coco_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty photographs with human masks, one record per caption."""
    out = tmp_path_factory.mktemp("formats") / "mini"
    annotations = coco_mini / "annotations"
    source = {
        "name": "coco",
        "images": coco_mini / "val2017",
        "instances": annotations / "instances_val2017.json",
        "captions": annotations / "captions_val2017.json",
        "caption": "all",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
        build(coco_recipe(source, splits={"validation": 1.0}, overlay=False), RunOptions(out=out, workers=1))
    return out


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits in three shards; one image with two records; the second split has no annotations."""
    out = tmp_path_factory.mktemp("formats") / "small"
    twice = [record(1), replace(record(1), record_id="record 1/b")]
    train = [rows_of([record(0), *twice], overlay=False), rows_of([record(2)], overlay=False)]
    write_folder(out, {"train": train, "test": [rows_of([bare_record(3)], overlay=False)]}, described=False)
    return out
