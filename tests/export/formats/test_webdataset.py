"""WebDataset: ``load_dataset`` opens the shards, id maps show the masks, shards are cut by size."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from datasetkit.core.record import KeyObject
from datasetkit.core.schema import record_to_row
from datasetkit.export.formats.exporting import export_folder
from tests.export.folders import bare_record, box_mask, png, record, rows_of, write_folder
from tests.pipeline.builders import built, coco_recipe, records


def load(folder: Path, split: str, cache: Path) -> datasets.Dataset:
    files = {split: str(folder / f"{split}-*.tar")}
    return datasets.load_dataset("webdataset", data_files=files, split=split, cache_dir=str(cache))


@pytest.mark.slow
def test_load_dataset_opens_the_shards(mini: Path, tmp_path: Path) -> None:
    result = export_folder(mini, "webdataset", tmp_path / "out")
    assert (result.records, result.pictures) == (100, 100)
    hidden = 0
    expected = records(mini)
    rows = load(tmp_path / "out", "validation", tmp_path / "cache")
    assert len(rows) == 100
    for row in rows.select(range(0, 100, 5)):
        source = expected[row["json"]["record_id"]]
        wanted = record_to_row(source)
        np.testing.assert_array_equal(row["jpg"], Image.open(io.BytesIO(source.image.data)))
        assert row["txt"] == source.description
        for name in ("objects", "phrases", "questions"):
            assert json.loads(row["json"][name]) == wanted[name]
        assert {name: row["json"][name] for name in wanted["source"]} == wanted["source"]
        ids = np.asarray(row["ids.png"])
        assert row["ids.png"].mode == "P"
        covered = np.zeros(ids.shape, dtype=bool)
        for number, item in enumerate(source.objects, start=1):
            mask = item.mask.decode()
            assert mask[ids == number].all(), "an id stands only where its mask is"
            covered |= mask
            hidden += int(mask.sum()) - int((ids == number).sum())
        np.testing.assert_array_equal(ids > 0, covered)
    losses = {loss.name: loss.count for loss in result.losses}
    assert "covered_objects" not in losses, "small objects are drawn over large ones"
    assert losses["covered_pixels"] == 5 * hidden, "each of the twenty images has five records"


def test_samples_of_which_nothing_is_known_load_beside_full_ones(tmp_path: Path) -> None:
    rows = rows_of([bare_record(0), record(1), bare_record(2), *map(record, range(3, 9))], overlay=False)
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    export_folder(tmp_path / "in", "webdataset", tmp_path / "out")
    found = load(tmp_path / "out", "train", tmp_path / "cache")
    assert found["txt"][:3] == ["", "Two cats watch a man from the top.", ""]
    assert [item["has_description"] for item in found["json"]] == [False, True, False, *[True] * 6]


def test_a_build_reads_the_very_same_records_back(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasetkit.sources.webdataset")
    export_folder(small, "webdataset", tmp_path / "out")
    shards = [tmp_path / "out" / "train-00000.tar", tmp_path / "out" / "test-00000.tar"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
        _, again = built(coco_recipe({"name": "webdataset", "shards": shards}), tmp_path / "again")
    assert again == records(small)


def test_keys_have_no_dot_and_members_no_time(small: Path, tmp_path: Path) -> None:
    export_folder(small, "webdataset", tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "train-00000.tar") as tar:
        members = tar.getmembers()
    keys = ["00000000-0", "00000001-0", "00000001-1", "00000002-0"]
    endings = [".ids.png", ".json", ".png", ".txt"]
    assert [member.name for member in members] == [key + ending for key in keys for ending in endings]
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
        (0, 0, 0, "", 0o644)
    }


def test_images_of_several_formats_get_one_ending(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24)).save(buffer, "JPEG")
    image = replace(png((24, 32)), data=buffer.getvalue(), name="b.JPEG")
    rows = rows_of([record(0), record(1, image=image)], overlay=False)
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    result = export_folder(tmp_path / "in", "webdataset", tmp_path / "out")
    assert {loss.name: loss.count for loss in result.losses} == {"renamed_pictures": 1}
    found = load(tmp_path / "out", "train", tmp_path / "cache").cast_column("jpg", datasets.Image(decode=False))
    assert [row["jpg"]["bytes"] for row in found] == [record(0).image.data, buffer.getvalue()]


def test_covered_objects_are_counted(tmp_path: Path) -> None:
    size_hw = (24, 32)
    objects = (KeyObject(0, box_mask(size_hw, 1, 1, 4, 4)), KeyObject(1, box_mask(size_hw, 1, 1, 4, 4)))
    objects += (KeyObject(2, box_mask(size_hw, 4, 4, 9, 9)),)
    rows = rows_of([replace(bare_record(0), image=png(size_hw), objects=objects)], overlay=False)
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    result = export_folder(tmp_path / "in", "webdataset", tmp_path / "out")
    assert {loss.name: loss.count for loss in result.losses} == {"covered_pixels": 17, "covered_objects": 1}


@pytest.mark.parametrize(("count", "mode"), [(255, "P"), (256, "I;16")])
def test_many_objects_take_sixteen_bits(tmp_path: Path, count: int, mode: str) -> None:
    size_hw = (24, 32)
    objects = tuple(KeyObject(n, box_mask(size_hw, n // 32, n % 32, 1, 1)) for n in range(count))
    rows = rows_of([replace(bare_record(0), image=png(size_hw), objects=objects)], overlay=False)
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    assert export_folder(tmp_path / "in", "webdataset", tmp_path / "out").losses == ()
    found = load(tmp_path / "out", "train", tmp_path / "cache")[0]["ids.png"]
    assert found.mode == mode
    np.testing.assert_array_equal(np.asarray(found).ravel(), [*range(1, count + 1), *[0] * (768 - count)])


def test_shards_are_cut_by_size(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasetkit.export.formats.webdataset.SHARD_BYTES", 20_000)
    export_folder(small, "webdataset", tmp_path / "out", split="train")
    sizes = [path.stat().st_size for path in sorted((tmp_path / "out").glob("*.tar"))]
    assert len(sizes) == 2
    assert max(sizes) <= 20_480, "the tar's own end is rounded up"
    assert len(load(tmp_path / "out", "train", tmp_path / "cache")) == 4
