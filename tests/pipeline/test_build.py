"""Builds: accounts that add up, equal bytes, splits by hash, retries, and images that stay untouched."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import datasets
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import datasetkit.export.statistics.plots
import datasetkit.pipeline.finishing
from datasetkit.core.errors import OutputError, SourceError
from datasetkit.core.ledger import DropReason
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from datasetkit.pipeline.progress import Progress
from tests.pipeline.builders import (
    built,
    caption,
    coco_recipe,
    contents,
    folder_recipe,
    image_entry,
    instance,
    make_image,
    put,
    reasons,
    write_coco,
)

pytestmark = pytest.mark.slow


def coco_of(folder: Path, count: int = 7, **options: Any) -> Any:
    return coco_recipe(
        write_coco(
            folder,
            [image_entry(n) for n in range(count)],
            [instance(100 + n, n % (count + 1), iscrowd=n % 3 == 0) for n in range(2 * count)],
            [caption(500 + n, n, f"a cat and {n} dogs") for n in range(count)],
        ),
        **options,
    )


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_load_dataset_returns_masks_bit_for_bit(coco_mini: Path, tmp_path: Path, split: str) -> None:
    annotations = coco_mini / "annotations"
    source = {"name": "coco", "images": coco_mini / split}
    source |= {kind: annotations / f"{kind}_{split}.json" for kind in ("instances", "captions")}
    manifest, _ = built(coco_recipe(source), tmp_path / "out")
    coco = COCO(source["instances"])
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    rows = rows.cast_column("image", datasets.Image(decode=False))
    compared = 0
    for row in rows:
        entry = coco.imgs[int(row["image_id"])]
        assert row["image"]["bytes"] == (coco_mini / split / entry["file_name"]).read_bytes()
        truths = coco.imgToAnns[int(row["image_id"])]
        assert len(truths) == len(row["objects"])
        for item, truth in zip(row["objects"], truths, strict=True):
            expected = coco.annToMask(truth)
            assert (coco_mask.decode(item["mask"]) == expected).all()
            assert item["area"] == expected.sum()
            assert item["bbox"] == coco_mask.toBbox(coco.annToRLE(truth)).tolist()
            assert item["is_crowd"] == bool(truth["iscrowd"])
            assert item["category"] == coco.cats[truth["category_id"]]["name"]
            compared += 1
    assert compared == manifest.tally.kept["annotation"] == {"train2017": 739, "val2017": 162}[split]


@pytest.mark.parametrize("part_size", [1, 3, 100])
def test_parts_make_shards_that_add_up(tmp_path: Path, part_size: int) -> None:
    manifest, found = built(coco_of(tmp_path, part_size=part_size), tmp_path / "out")
    assert list(found) == [str(n) for n in range(7)]
    assert len(manifest.parts) == -(-7 // part_size)
    names = [shard.path for shard in manifest.shards]
    assert names == [f"data/train-{n:05d}-of-{len(names):05d}.parquet" for n in range(len(manifest.parts))]
    assert reasons(tmp_path / "out", "annotation") == {"107": "unknown_image"}
    for shard in manifest.shards:
        data = (tmp_path / "out" / shard.path).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (shard.sha256, shard.bytes)


def test_two_builds_yield_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasetkit.export.card.describe.write_plots", datasetkit.export.statistics.plots.write_plots)
    recipe = coco_of(tmp_path, part_size=2, splits={"train": 0.6, "test": 0.4})
    for name, workers in (("one", 1), ("two", 5)):
        built(recipe, tmp_path / name, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert any(name.startswith("assets/") for name in contents(tmp_path / "one"))


def test_input_path_leaves_no_trace(tmp_path: Path) -> None:
    for name in ("here", "there"):
        built(coco_of(tmp_path / name), tmp_path / f"out-{name}")
    assert contents(tmp_path / "out-here") == contents(tmp_path / "out-there")


def test_equal_images_never_straddle_splits(tmp_path: Path) -> None:
    files = {f"{copy}/{n}.png": make_image(n, (6, 9)) for n in range(40) for copy in "abc"}
    recipe = folder_recipe(
        put(tmp_path / "in", files), part_size=7, splits={"train": 0.5, "validation": 0.3, "test": 0.2}
    )
    manifest, _ = built(recipe, tmp_path / "out")
    splits: dict[str, set[str]] = {}
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    for name, rows in loaded.items():
        for source in rows["source"]:
            splits.setdefault(source["sha256"], set()).add(name)
    assert len(splits) == 40
    assert all(len(names) == 1 for names in splits.values())
    assert {name: rows.num_rows for name, rows in loaded.items()} == manifest.split_rows
    assert set(manifest.split_rows) == {"train", "validation", "test"}


def test_empty_splits_are_not_written(tmp_path: Path) -> None:
    recipe = folder_recipe(put(tmp_path / "in", {"a.png": make_image()}), splits={"train": 0.5, "test": 0.5})
    manifest, _ = built(recipe, tmp_path / "out")
    assert len(manifest.split_rows) == 1
    assert len(list((tmp_path / "out" / "data").iterdir())) == 1


def test_folder_splits_are_kept_unless_shares_are_given(tmp_path: Path) -> None:
    files = {"train/a.png": make_image(1), "val/b.png": make_image(2), "val/c.png": b"broken", "d.png": make_image(3)}
    folder = put(tmp_path / "in", files)
    manifest, _ = built(folder_recipe(folder), tmp_path / "out")
    assert manifest.split_rows == {"train": 2, "validation": 1}
    manifest, _ = built(folder_recipe(folder, splits={"all_of_it": 1.0}), tmp_path / "one")
    assert manifest.split_rows == {"all_of_it": 3}


@pytest.mark.parametrize(("limit", "read"), [(1, 1), (3, 3), (7, 7), (100, 7)])
def test_limit_counts_entries_read(tmp_path: Path, limit: int, read: int) -> None:
    recipe = coco_of(tmp_path, limit=limit, part_size=2)
    (tmp_path / "images" / "0.png").write_bytes(b"broken")
    manifest, _ = built(recipe, tmp_path / "out")
    assert (manifest.tally.read["record"], manifest.tally.kept["record"]) == (read, read - 1)


def test_source_without_usable_records_ends_well(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", {"a.png": b"x", "b.png": b""})
    manifest, found = built(folder_recipe(folder, part_size=1), tmp_path / "out")
    assert found == {}
    assert (manifest.shards, manifest.split_rows) == ((), {})
    assert manifest.tally.to_json()["records"] == {"read": 2, "kept": 0, "dropped": {"empty": 1, "not_an_image": 1}}
    assert (tmp_path / "out" / "README.md").exists()
    assert built(folder_recipe(folder, part_size=1), tmp_path / "out")[0].shards == ()


def test_source_without_entries_ends_well(tmp_path: Path) -> None:
    manifest, found = built(coco_recipe(write_coco(tmp_path, [], [instance(1, 1)])), tmp_path / "out")
    assert found == {}
    assert (manifest.tally.read["record"], manifest.tally.read["annotation"]) == (0, 1)


def test_retry_failed_rereads_only_failed_parts(tmp_path: Path) -> None:
    recipe = coco_of(tmp_path, part_size=2)
    images = tmp_path / "images"
    whole = (images / "3.png").read_bytes()
    (images / "3.png").unlink()
    (images / "4.png").write_bytes(b"")
    (images / "6.png").write_bytes(whole[:-300])
    first, found = built(recipe, tmp_path / "out")
    assert list(found) == ["0", "1", "2", "5"]
    built(recipe, tmp_path / "out", retry_failed=True)
    assert Manifest.read(tmp_path / "out") == first, "nothing has changed, so a retry changes nothing"
    for name in ("3", "4", "6"):
        (images / f"{name}.png").write_bytes(make_image(int(name)))
    (images / "0.png").unlink()
    _, found = built(recipe, tmp_path / "out", retry_failed=True)
    assert list(found) == [str(n) for n in range(7)], "part 0 had no failure, so it is not read again"
    (images / "0.png").write_bytes(make_image(0))
    built(recipe, tmp_path / "anew")
    assert contents(tmp_path / "out") == contents(tmp_path / "anew")


def test_permanent_failure_is_not_retried(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"file_name": name}) + "\n" for name in ("a.png", "../x.png"))
    folder = put(tmp_path / "in", {"a.png": make_image(), "metadata.jsonl": rows})
    built(folder_recipe(folder), tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    built(folder_recipe(folder), tmp_path / "out", retry_failed=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == stamps
    assert reasons(tmp_path / "out") == {"../x.png": DropReason.PATH_ESCAPES}


def test_program_error_leaves_a_resumable_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = coco_of(tmp_path, part_size=2)
    real = datasetkit.pipeline.finishing.draw_overlay
    calls: list[int] = []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 4:
            raise ZeroDivisionError
        return real(*arguments)

    monkeypatch.setattr("datasetkit.pipeline.finishing.draw_overlay", failing)
    with pytest.raises(ZeroDivisionError):
        build(recipe, RunOptions(out=tmp_path / "out", workers=2))
    assert not list((tmp_path / "out").rglob("*.partial"))
    monkeypatch.setattr("datasetkit.pipeline.finishing.draw_overlay", real)
    built(recipe, tmp_path / "out")
    built(recipe, tmp_path / "anew")
    assert contents(tmp_path / "out") == contents(tmp_path / "anew")


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    recipe = coco_of(tmp_path, part_size=2, limit=5)
    (tmp_path / "images" / "1.png").unlink()
    seen: list[Progress] = []
    build(recipe, RunOptions(out=tmp_path / "out", workers=2), seen.append)
    assert list(dict.fromkeys((step.done, step.total) for step in seen)) == [(n, 5) for n in range(6)]
    assert seen[-1].detail.startswith("1 dropped")


def test_a_complete_dataset_has_nothing_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = coco_of(tmp_path, count=1)
    for is_complete in (False, True):
        with caplog.at_level(logging.INFO, "datasetkit"):
            build(recipe, RunOptions(out=tmp_path / "out"))
        assert (f"{tmp_path / 'out'} is complete already; nothing to do" in caplog.messages) is is_complete


def test_without_overlay_there_is_no_such_column(tmp_path: Path) -> None:
    built(coco_of(tmp_path, overlay=False), tmp_path / "out")
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert "overlay" not in rows.column_names


def test_each_caption_becomes_a_record(tmp_path: Path) -> None:
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1)], [caption(11, 1), caption(12, 1, "a dog")])
    manifest, found = built(coco_recipe(options | {"caption": "all"}), tmp_path / "out")
    assert list(found) == ["1/11", "1/12"]
    assert manifest.tally.read == {"record": 2, "annotation": 2, "detection": 0}


def test_unreadable_source_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        build(folder_recipe(tmp_path / "none"), RunOptions(out=tmp_path / "out", workers=1))
    assert not (tmp_path / "out").exists()


def test_out_inside_the_images_folder_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path, {"a.png": make_image()})
    with pytest.raises(OutputError, match="inside the source's folder"):
        build(folder_recipe(folder), RunOptions(out=folder / "out", workers=1))
    assert not (folder / "out").exists()
