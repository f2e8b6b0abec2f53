"""imagefolder: ``load_dataset`` opens it with every column, and a build restores records."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from datasetkit.core.schema import record_to_row
from datasetkit.export.formats.exporting import export_folder
from tests.pipeline.builders import built, folder_recipe, records


def test_load_dataset_opens_every_split_and_column(small: Path, tmp_path: Path) -> None:
    result = export_folder(small, "imagefolder", tmp_path / "out")
    assert (result.records, result.pictures, result.objects, result.losses) == (5, 5, 16, ())
    # The second split has no object and no description: types guessed from its JSON would fit the first one's nowhere.
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 4, "test": 1}
    expected = records(small)
    for row in [*loaded["train"], *loaded["test"]]:
        source = expected[row["record_id"]]
        wanted = record_to_row(source)
        np.testing.assert_array_equal(row["image"], Image.open(io.BytesIO(source.image.data)))
        assert {name: row[name] for name in wanted if name != "image"} == {
            name: value for name, value in wanted.items() if name != "image"
        }
        for item, thing in zip(row["objects"], source.objects, strict=True):
            np.testing.assert_array_equal(coco_mask.decode(item["mask"]), thing.mask.decode())


@pytest.mark.slow
def test_a_build_reads_records_back(mini: Path, tmp_path: Path) -> None:
    export_folder(mini, "imagefolder", tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
        manifest, again = built(folder_recipe(tmp_path / "out", overlay=False), tmp_path / "again")
    assert manifest.split_rows == {"validation": 100}
    assert again == records(mini)


def test_names_are_unique_and_stay_inside(small: Path, tmp_path: Path) -> None:
    export_folder(small, "imagefolder", tmp_path / "out", split="train")
    names = sorted(path.name for path in (tmp_path / "out" / "train").iterdir())
    images = ["0.png", "00000001-1-1.png", "1.png", "2.png"]
    assert names == [*images, "metadata.parquet"]
    assert not (tmp_path / "out" / "test").exists()
